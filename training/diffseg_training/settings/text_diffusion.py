"""Settings of learning to draw images from captions, in an autoencoder's latent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.text.caption_settings import CaptionSettings


class Settings(CaptionSettings):
    """What captions say, how often they are left out, and the latent."""

    name: Literal["text_diffusion"] = "text_diffusion"
    autoencoder: str = Field(
        "small-autoencoder",
        title="Autoencoder",
        description="OUT/part of a recipe of an autoencoder, or the name of a part "
        "that ships",
    )
    untold: float = Field(
        0.1,
        ge=0,
        le=1,
        title="Share of images whose caption is left out",
        description="For guidance without a classifier (Ho and Salimans 2022)",
    )
    loss: Literal["l1", "l2"] = Field("l2", title="Error of the prediction")
