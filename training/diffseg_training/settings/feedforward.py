"""Settings of an answer in one go: a network with nothing to denoise (E1)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """What stands in the noisy mask's place, and the terms of the loss.

    Dice and cross-entropy weigh the same by default. The analysis paper's halves of
    each are the same loss but for a factor, which AdamW does not feel.
    """

    takes_unreviewed: ClassVar[bool] = True
    name: Literal["feedforward"] = "feedforward"
    input: Literal["zeros", "noise"] | None = Field(
        None,
        title="In the noisy mask's place",
        description="As sampling.input says, which the model's card keeps; noise is "
        "the analysis paper's E1",
    )
    background: bool | None = Field(
        None,
        title="Whether the network's first channel is the background",
        description="Not given: of compact_unet it is, of the others not",
    )
    dice: float = Field(1.0, ge=0, title="Weight of the Dice loss")
    cross_entropy: float = Field(1.0, ge=0, title="Weight of the cross-entropy")
    deep: float = Field(
        0.5,
        ge=0,
        title="Weight of the image tower's own answers",
        description="Of compact_unet",
    )
    calibration: float = Field(
        10.0,
        ge=0,
        title="Weight of the condition network's own mask",
        description="Of networks that have one, which learns from nothing else "
        "(MedSegDiff)",
    )
