"""Settings of the autoencoder that latent networks stand on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """What is brought back, and how the latent is held."""

    name: Literal["autoencoder"] = "autoencoder"
    classes: int = Field(
        1,
        ge=1,
        le=3,
        title="Foreground classes",
        description="One is all three channels of the mask's image, more are one each",
    )
    mixed: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Share of masks whose channels show flips of it, each another",
        description="Of one class: so that an autoencoder takes several, too",
    )
    image: float = Field(1.0, ge=0, title="Weight of the images' absolute error")
    mask: float = Field(1.0, ge=0, title="Weight of the masks' squared error")
    cross_entropy: float = Field(0.2, ge=0, title="Weight of the masks' cross-entropy")
    kl: float = Field(
        1e-6,
        ge=0,
        title="Weight of the divergence from a standard normal latent",
        description="Summed over the latent, against errors summed over the image",
    )
    deviation: float = Field(
        1.0,
        gt=0,
        title="Standard deviation that latents are held to",
        description="One over the scale of the latent network: 1 for scale 1",
    )
    holding: float = Field(0.1, ge=0, title="Weight of holding it")
