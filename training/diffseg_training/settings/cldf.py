"""Settings of CLDF: what its chain learns, stage after stage. Loads without torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from diffseg.segmenters.weak.thresholds import Threshold
from diffseg_training.recipe_parts import Augmentation, Optimiser, Part
from diffseg_training.settings.base import ObjectiveSettings


class Stage(Part):
    """A network that is trained first; what is not said is the recipe's."""

    share: float = Field(gt=0, le=1, title="Share of the recipe's minutes")
    steps: int | None = Field(None, ge=1, title="Steps, instead of minutes")
    objective: dict[str, Any] = Field(title="Objective, by its name, and its settings")
    optimiser: Optimiser | None = Field(None, title="Optimiser")
    augmentation: Augmentation | None = Field(None, title="Augmentation")


class CamStage(Stage):
    """The classifier whose activation maps are refined, and which maps."""

    network: dict[str, Any] = Field(
        default_factory=lambda: {"name": "slice_classifier", "backbone": "resnet18"},
        title="Network",
    )
    source: str = Field(
        "layer_cam_stages",
        title="Class activation map",
        description="One of diffseg.segmenters.cams, that the network can give",
    )


class Gradients(Part):
    """The mean gradient map (CLDF, section 2); what the paper leaves open is ours."""

    timesteps: tuple[int, ...] = Field(
        (50, 100, 150, 200, 250, 300, 350, 400), min_length=1, title="Noise levels"
    )
    draws: int = Field(1, ge=1, title="Draws of noise at each level")
    sign: Literal["absolute", "positive"] = Field("absolute", title="What counts")
    equal: bool = Field(False, title="Every level weighs the same in each image")


class Selecting(Part):
    """Sure foreground and background (CLDF, section 2)."""

    fusion: Literal["both", "cam", "gradient"] = Field(
        "both", title="Maps that have a say"
    )
    cam: Threshold = Field(default_factory=Threshold, title="Of the activation map")
    gradient: Threshold = Field(default_factory=Threshold, title="Of the gradient map")
    blur: float = Field(1.0, ge=0, title="Blur of the gradient map, SD in pixels")
    foreground: int = Field(5000, ge=1, title="Most pixels of a class in a slice")
    background: int = Field(5000, ge=1, title="Most pixels of background in a slice")
    slices: int | None = Field(
        None, ge=1, title="Most slices to learn from, evenly over them; None: all"
    )
    negatives: int = Field(
        0,
        ge=0,
        title="Slices that show nothing, all of them background",
        description="CLDF takes none",
    )


class Decoding(Part):
    """How the pixel decoder learns (CLDF, section 3.1)."""

    epochs: int = Field(5, ge=1, title="Times that every slice is seen")
    batch: int = Field(4, ge=1, title="Slices a step")
    pixels: int = Field(
        4096,
        ge=4,
        title="Most pixels a step",
        description="They bound the loss's memory: 20 bytes times their square",
    )
    learning_rate: float = Field(0.05, gt=0, title="Learning rate of SGD")
    momentum: float = Field(0.9, ge=0, lt=1, title="Momentum")
    absent: float | None = Field(
        None,
        gt=0,
        lt=1,
        title="Share of the pixels of slices that show nothing that is background",
        description="Of what `selection.negatives` takes; None: every pixel is of the "
        "nearer centre, as in CLDF",
    )
    negatives: bool = Field(
        True, title="Slices that show nothing are learnt from, if any were taken"
    )
    balanced: bool = Field(False, title="Every class weighs the same in the loss")


class Settings(ObjectiveSettings):
    """What each stage of the chain learns, and how."""

    learns_labels: ClassVar[bool] = True
    chained: ClassVar[bool] = True
    name: Literal["cldf"] = "cldf"
    diffusion: Stage = Field(
        default_factory=lambda: Stage(share=0.6, objective={"name": "class_diffusion"}),
        title="Diffusion model",
    )
    classifier: Stage = Field(
        default_factory=lambda: Stage(
            share=0.25, objective={"name": "noisy_classification"}
        ),
        title="Noisy classifier",
    )
    cam: CamStage = Field(
        default_factory=lambda: CamStage(
            share=0.15, objective={"name": "classification"}
        ),
        title="Activation maps",
    )
    gradients: Gradients = Field(default_factory=Gradients, title="Gradient map")
    selection: Selecting = Field(default_factory=Selecting, title="Selection")
    decoder: Decoding = Field(default_factory=Decoding, title="Pixel decoder")
