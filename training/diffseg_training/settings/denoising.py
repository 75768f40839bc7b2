"""Settings of denoising a mask given the image: eps, v or x0 (E2)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """How the errors at each timestep are weighed, and the further terms."""

    takes_unreviewed: ClassVar[bool] = True
    name: Literal["denoising"] = "denoising"
    loss: Literal["l2", "l1"] = Field("l2", title="Error of the prediction")
    variational: float = Field(
        1.0,
        ge=0,
        title="Weight of the variational bound",
        description="Of networks that learn the variance",
    )
    variational_rescaled: bool = Field(
        False,
        title="Scale the bound with the timesteps",
        description="By T / 1000, as guided diffusion does where it says rescaled",
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
    fingerprint: Path | None = Field(
        None,
        title="Fingerprint",
        description="fingerprint.json that the timestep weights are taken from",
    )
    largest_gain: float = Field(
        100.0,
        gt=0,
        title="Largest factor from the error of eps to that of x0",
        description="weighting loss: (1 - abar) / abar grows without bound",
    )

    @model_validator(mode="after")
    def _weights_have_one_use(self) -> Self:
        given = bool(self.timestep_weights) + (self.fingerprint is not None)
        if given > 1:
            raise ValueError("give timestep_weights or fingerprint, not both")
        if given and self.weighting == "none":
            raise ValueError("weights are given: set weighting to loss or sampling")
        if not given and self.weighting != "none":
            raise ValueError(
                f"weighting {self.weighting} needs timestep_weights or a fingerprint"
            )
        weights = self.timestep_weights
        if weights and (min(weights) < 0 or not sum(weights) > 0):
            raise ValueError("timestep_weights are not negative, and some are positive")
        return self
