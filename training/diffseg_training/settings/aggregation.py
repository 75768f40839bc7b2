"""Settings of AME-CAM's aggregation of the maps of four exits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """The classifier whose maps are aggregated, and the contrast between slices."""

    learns_labels: ClassVar[bool] = True
    name: Literal["aggregation"] = "aggregation"
    classifier: str = Field(
        title="Trained classifier",
        description="OUT/part of a recipe of objective classification and network "
        "ame_cam; it stays as it is",
    )
    rank: float = Field(
        0.25, ge=0, title="How fast pairs that are less alike lose weight"
    )
