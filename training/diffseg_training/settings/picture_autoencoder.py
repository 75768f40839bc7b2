"""Settings of an autoencoder of pictures alone, for text-to-image models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """How the latent is held while pictures are brought back."""

    name: Literal["picture_autoencoder"] = "picture_autoencoder"
    kl: float = Field(
        1e-6,
        ge=0,
        title="Weight of the divergence from a standard normal latent",
        description="Summed over the latent, against errors summed over the picture",
    )
    deviation: float = Field(
        1.0, gt=0, title="Standard deviation that latents are held to"
    )
    holding: float = Field(0.1, ge=0, title="Weight of holding it")
