"""Settings of x0 prediction of one-hot masks with recycled answers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """The noise levels seen, and the terms of the loss."""

    takes_unreviewed: ClassVar[bool] = True
    name: Literal["recycling"] = "recycling"
    members: int = Field(3, ge=1, title="Noisy masks per image and step")
    terminal: float = Field(
        1 / 3, ge=0, le=1, title="Share of noisy masks that are pure noise"
    )
    recycled: float = Field(
        1 / 3,
        ge=0,
        le=1,
        title="Share whose mask is the network's own answer, re-noised",
    )
    lowest: float = Field(
        0.3, ge=0, lt=1, title="Lowest noise level, a share of the schedule"
    )
    dice: float = Field(1.0, ge=0, title="Weight of the Dice loss")
    cross_entropy: float = Field(1.0, ge=0, title="Weight of the cross-entropy")
    deep: float = Field(0.5, ge=0, title="Weight of the image tower's own answers")
