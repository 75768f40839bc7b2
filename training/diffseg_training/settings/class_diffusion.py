"""Settings of a diffusion model of images, told what they show."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """The error of the prediction, and how often the condition is kept back."""

    learns_labels: ClassVar[bool] = True
    name: Literal["class_diffusion"] = "class_diffusion"
    loss: Literal["l2", "l1"] = Field("l2", title="Error of the prediction")
    kept_back: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Share of images whose labels are kept back",
        description="They are shown as unknown (Ho and Salimans 2022); CLDF keeps none",
    )
