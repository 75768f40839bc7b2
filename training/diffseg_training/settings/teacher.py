"""Settings of a small teacher, trained on a data set's own images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """How much of an image is hidden."""

    name: Literal["teacher"] = "teacher"
    masked: float = Field(0.6, gt=0, lt=1, title="Share of patches that are hidden")
