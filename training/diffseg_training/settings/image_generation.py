"""Settings of unconditional generation of the images themselves (E4)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """The error of the prediction."""

    name: Literal["image_generation"] = "image_generation"
    loss: Literal["l2", "l1"] = Field("l2", title="Error of the prediction")
