"""Settings of an answer in one go: a network with nothing to denoise (E1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """What stands in the noisy mask's place, and the terms of the loss."""

    name: Literal["feedforward"] = "feedforward"
    input: Literal["zeros", "noise"] = Field(
        "zeros",
        title="In the noisy mask's place",
        description="noise: as the analysis paper's E1; zeros: nothing at all",
    )
    dice: float = Field(1.0, ge=0, title="Weight of the Dice loss")
    cross_entropy: float = Field(1.0, ge=0, title="Weight of the cross-entropy")
    deep: float = Field(0.5, ge=0, title="Weight of the image tower's own answers")
