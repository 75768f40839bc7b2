"""Settings of a classifier of slices, learnt from image-level labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """What the network begins with, and what its weights are chosen by."""

    learns_labels: ClassVar[bool] = True
    name: Literal["classification"] = "classification"
    weights: Path | None = Field(
        None,
        title="First weights of the backbone",
        description="A folder with model.safetensors, or such a file, in timm's names; "
        "None: random",
    )
    exits: tuple[float, ...] = Field(
        (0.25, 0.5, 0.75, 1.0),
        title="Weights of the exits' losses",
        description="Of network ame_cam, which answers after each stage",
    )
    contrast: float = Field(
        0.0,
        ge=0,
        title="Weight of learning the aggregation of the exits' maps along",
        description="Of network ame_cam; 0: in a run of its own, as published, by "
        "objective aggregation",
    )
    rank: float = Field(
        0.25, ge=0, title="How fast pairs of slices less alike lose weight in it"
    )
    chosen_by: Literal["auroc", "loss"] = Field(
        "auroc", title="Score on val that weights are chosen by"
    )
