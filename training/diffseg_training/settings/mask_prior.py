"""Settings of recovering a mask from its noisy self, without the image (E3)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """The error of the recovered mask."""

    name: Literal["mask_prior"] = "mask_prior"
    loss: Literal["l2", "l1"] = Field("l2", title="Error of the mask")
