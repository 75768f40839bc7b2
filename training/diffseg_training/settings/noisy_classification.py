"""Settings of the classifier of noisy images."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """Which noise levels it sees."""

    learns_labels: ClassVar[bool] = True
    name: Literal["noisy_classification"] = "noisy_classification"
    highest: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Noisiest level, a share of the schedule",
        description="1 is published; a short training gains by a lower one, as noise "
        "alone shows nothing",
    )
