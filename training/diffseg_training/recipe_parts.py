"""Sections of a recipe that say how a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A frozen section; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Precision = Literal["auto", "bf16", "fp16", "fp32"]


class Augmentation(Part):
    """Random changes of each training example, all from the example's own key."""

    rotate_deg: float = Field(15.0, ge=0, title="Largest rotation, degrees")
    scale: float = Field(0.15, ge=0, lt=1, title="Largest change of scale, a share")
    shift: float = Field(4.0, ge=0, title="Largest shift, voxels")
    elastic: float = Field(2.0, ge=0, title="Elastic displacement, SD in voxels")
    flip_axes: tuple[int, ...] = Field(
        (),
        title="Axes flipped half of the time",
        description="Of the patch: of (z, y, x), or (y, x)",
    )
    gamma: float = Field(0.3, ge=0, title="Largest |log gamma|")
    contrast: float = Field(0.25, ge=0, lt=1, title="Largest change of contrast")
    colour: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Largest change of each channel's own contrast and brightness",
        description="Stains and skins differ in colour; for RGB images",
    )
    noise: float = Field(0.15, ge=0, title="Largest added noise, SD")
    blur: float = Field(0.15, ge=0, le=1, title="Chance of a blurred example")
    outside: Literal["zeros", "border", "reflection"] = Field(
        "zeros", title="What is seen beyond the image's edge"
    )


class Patches(Part):
    """Which part of which case an example shows."""

    per_case: int = Field(1, ge=1, title="Examples of each case in an epoch")
    balanced: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Share of examples whose case is drawn by class",
        description="A class evenly among those there are, then a case that has it",
    )
    foreground: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Share of examples centred on a voxel of a class",
        description="A class evenly among those of the case; of a 2D network, in a "
        "slice that has it",
    )


class Loading(Part):
    """Where prepared examples wait, and who makes them ready."""

    memory_gb: float = Field(
        4.0,
        ge=0,
        title="Prepared examples kept in memory, GB",
        description="The rest streams from OUT/cache",
    )
    workers: int | None = Field(
        None, ge=0, title="Threads that make examples", description="None: by the cores"
    )


class Optimiser(Part):
    """Adam's kind, its rate over the run, and averaged weights."""

    kind: Literal["adamw", "adam"] = Field("adamw", title="Optimiser")
    learning_rate: float = Field(2e-3, gt=0, title="Peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, title="Weight decay")
    betas: tuple[float, float] = Field((0.9, 0.999), title="Decay of the moments")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", title="Learning rate after the warm-up"
    )
    warmup: float = Field(0.03, ge=0, lt=1, title="Warm-up, a share of the run")
    batch: int = Field(
        2, ge=1, title="Images per step", description="Over all processes and parts"
    )
    accumulate: int = Field(
        1,
        ge=1,
        title="Parts of a step's images",
        description="One after another through the network, which saves memory",
    )
    clip: float = Field(1.0, gt=0, title="Largest gradient norm")
    ema: float = Field(0.998, ge=0, lt=1, title="Decay of the averaged weights")
    ema_warmup: bool = Field(
        True,
        title="Faster growth of the average's decay, up to `ema`",
        description="1 - (1 + step) ** -0.75; else (1 + step) / (10 + step)",
    )
    ema_of: tuple[str, ...] = Field(
        (),
        title="Parts of the network that are averaged",
        description="Beginnings of their parameters' names; of the others the last "
        "weights are used. Empty: all",
    )
    precision: Precision = Field(
        "auto",
        title="Arithmetic",
        description="auto: bf16 where the device is made for it, else fp32",
    )
    float32_below: int = Field(
        0,
        ge=0,
        title="Convolutions of at most so many voxels stay in float32",
        description="Gradients in bf16 of small 3D maps are at times NaN on a CPU",
    )
    not_finite: int = Field(
        20,
        ge=1,
        title="Steps without a finite gradient, one after another, that end a run",
    )


class Length(Part):
    """When a run ends, validates, saves and tells."""

    minutes: float = Field(15.0, gt=0, title="Minutes")
    steps: int | None = Field(None, ge=1, title="Steps, instead of minutes")
    validations: int = Field(6, ge=1, title="Validations, evenly over the run")
    patience: int | None = Field(
        None, ge=1, title="Validations without a gain that end a run"
    )
    validation_cases: int | None = Field(
        None, ge=1, title="Cases of val to choose on, evenly over them; None: all"
    )
    validation_members: int = Field(2, ge=1, title="Members drawn of each such case")
    validation_steps: int | None = Field(
        None, ge=1, title="Sampling steps there", description="None: as the model's own"
    )
    checkpoint_minutes: float = Field(
        5.0, gt=0, title="Minutes between states, besides those at validations"
    )
    log_steps: int = Field(20, ge=1, title="Steps that a line of the log averages")


class Gate(Part):
    """What a trained model may lose against the one before it, and who judges."""

    tolerance: float = Field(
        0.01,
        ge=0,
        lt=1,
        title="Dice that a class may lose on held-out cases",
        description="The gate refuses what loses more",
    )
    overall_tolerance: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Dice that the mean of all classes may lose on held-out cases",
        description="The gate refuses what loses more",
    )
    held_out: float = Field(
        0.25, gt=0, lt=1, title="Share of the reviewed patients that are held out"
    )


class Finetuning(Gate):
    """What keeps a model that learns from corrections near what it knew."""

    rate: float = Field(
        0.1, gt=0, le=1, title="Peak learning rate, a share of the recipe's"
    )
    batch: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Examples of a step, a share of the recipe's",
        description="In as many minutes, more and smaller steps",
    )
    replay: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Share of examples that are of the base data",
        description="Where base data are given",
    )
    replay_cases: int = Field(
        40, ge=1, title="Cases of the base data at most, drawn by the seed"
    )
    anchor: float = Field(
        0.01,
        ge=0,
        title="Strength of the pull towards the parent's weights",
        description="L2-SP's alpha; where no base data are given",
    )
    blends: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.5, 0.25),
        title="Shares of the way from the parent's weights to the trained ones",
        description="Tried on the held-out cases; the best child is the run's",
    )


class SelfTraining(Gate):
    """Which weak masks teach a segmenter, and by what the gate judges it."""

    by: Literal["uncertainty", "expected_dice"] = Field(
        "uncertainty",
        title="What a case is doubted by",
        description="uncertainty: its mean over what is proposed; expected_dice: 1 "
        "less the Dice that the ensemble expects of itself",
    )
    keep: float = Field(
        0.7, gt=0, le=1, title="Share of the cases to take, the least doubted"
    )
    worst: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Doubt above which a case is left out",
        description="Takes the place of the share",
    )
    limit: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Uncertainty above which a voxel carries no loss",
        description="1: every voxel counts. With two classes, 0.5 is where the "
        "likelier one has a probability of 0.89",
    )


class Lora(Part):
    """Low-rank updates of chosen layers, all else frozen (Hu et al. 2022)."""

    rank: int = Field(8, ge=1, title="Rank")
    alpha: float = Field(8.0, gt=0, title="Scale of the update, times the rank")
    targets: tuple[str, ...] | str = Field(
        title="Layers", description="Ends of their names, or one regular expression"
    )
    whole: tuple[str, ...] = Field(
        (), title="Parts trained in full", description="Beginnings of their names"
    )
