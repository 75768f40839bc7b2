"""Settings of denoising a mask in the latent of an autoencoder (LEAF, SDSeg)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diffseg_training.settings.base import ObjectiveSettings


class Settings(ObjectiveSettings):
    """What the network begins with, and the terms of the loss."""

    name: Literal["latent"] = "latent"
    autoencoder: str | None = Field(
        None,
        title="Autoencoder",
        description="OUT/part of a recipe of an autoencoder, the name of a part that "
        "ships or of public weights that were pulled (kl-f8), or a file of safetensors "
        "or a checkpoint; None: as the recipe's start has it",
    )
    unet: str | None = Field(
        None,
        title="First weights of the U-Net",
        description="The name of public weights that were pulled (ldm-lsun-churches), "
        "or a file of safetensors or a checkpoint, of the unconditional network too "
        "(its first convolution is doubled and halved); random without it",
    )
    loss: Literal["l1", "l2"] = Field("l1", title="Error of the prediction")
    latent_x0: float = Field(
        0.0,
        ge=0,
        title="Weight of the clean latent's absolute error",
        description="SDSeg adds it with weight 1 to the error of eps",
    )
    teacher: str | None = Field(
        None,
        title="Teacher",
        description="Vision transformer whose patch tokens the U-Net is aligned with: "
        "timm:NAME, open_clip:NAME/TAG, file:FOLDER, or OUT/part of a recipe of a "
        "teacher or the name of a part that ships; None: no alignment",
    )
    grid: tuple[int, int] | None = Field(
        None,
        title="The teacher's patches (y, x)",
        description="As many as a map of the U-Net has positions; None: as after its "
        "first halving",
    )
    alignment: float = Field(
        0.25,
        ge=0,
        title="Weight of the alignment",
        description="Of minus the mean cosine. The public code divides by the batch: "
        "its 1.0 at a batch of 4 is 0.25",
    )
    per_batch: bool = Field(
        False,
        title="Divide the alignment's weight by the batch",
        description="As the public code does",
    )
    projector: int = Field(2048, ge=1, title="Width of the projector in between")
