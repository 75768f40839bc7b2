"""Settings of denoising a mask given the image: eps, v or x0 (E2)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """How the errors at each timestep are weighed, and the further terms."""

    name: Literal["denoising"] = "denoising"
    loss: Literal["l2", "l1"] = Field("l2", title="Error of the prediction")
    variational: float = Field(
        1.0,
        ge=0,
        title="Weight of the variational bound",
        description="Of networks that learn the variance",
    )
    calibration: float = Field(
        10.0,
        ge=0,
        title="Weight of the condition network's own mask",
        description="Of networks that have one (MedSegDiff)",
    )
    weighting: Literal["none", "loss", "sampling"] = Field(
        "none",
        title="Use of the timestep weights",
        description="As weights of the loss of x0, or as chances of each timestep",
    )
    timestep_weights: tuple[float, ...] = Field(
        (),
        title="Timestep weights",
        description="Mean 1, evenly over the schedule, as a fingerprint gives them",
    )
