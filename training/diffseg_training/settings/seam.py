"""Settings of SEAM: activation maps that follow their image when it is rescaled."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """The other branch's scale, and how the terms are weighed (Wang et al. 2020)."""

    learns_labels: ClassVar[bool] = True
    name: Literal["seam"] = "seam"
    weights: Path | None = Field(
        None,
        title="First weights of the backbone",
        description="A folder with model.safetensors, or such a file, in timm's names; "
        "None: random",
    )
    scale: float = Field(
        0.3, gt=0, lt=1, title="Size of the other branch's image, a share"
    )
    equivariance: float = Field(1.0, ge=0, title="Weight of the maps' equivariance")
    cross: float = Field(
        1.0, ge=0, title="Weight of refined maps against the other branch's"
    )
    hardest: float = Field(
        0.2, gt=0, le=1, title="Share of the pixels, the hardest, that `cross` takes"
    )
    emptiness: float = Field(
        1.0,
        ge=0,
        title="Weight of the refined maps' lowest quarter",
        description="So that not all of a slice becomes the structure",
    )
    chosen_by: Literal["auroc", "loss"] = Field(
        "auroc", title="Score on val that weights are chosen by"
    )
