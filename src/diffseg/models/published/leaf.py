"""Checkpoints of LEAF (2025), as its public code saves them.

A pipeline's folder holds a file each for the U-Net, the autoencoder and the image's
encoder; `read` joins them, under ``unet.``, ``vae.`` and ``latent_encoder.``. The
projector of the alignment is not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diffseg.errors import UserError
from diffseg.networks.kl_autoencoder import diffusers_names
from diffseg.networks.latent_shapes import autoencoder_config, below, unet_config

State = Mapping[str, Tensor]

# Folders of each part, the first that is there; the average is what is evaluated.
_FOLDERS = {
    "unet.": ("unet_ema", "unet"),
    "vae.": ("vae",),
    "latent_encoder.": ("latent_encoder",),
}


def read(path: str | Path) -> dict[str, Tensor]:
    """Read a pipeline's folder into one state dict.

    Parameters
    ----------
    path : path
        The folder, or a file in it such as its ``model_index.json``.

    Raises
    ------
    UserError
        A part is missing, or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(path)
    folder = folder if folder.is_dir() else folder.parent
    state: dict[str, Tensor] = {}
    for prefix, names in _FOLDERS.items():
        files = [
            file
            for name in names
            for file in sorted(folder.glob(f"{name}/*.safetensors"))
        ]
        if not files:
            raise UserError(
                f"LEAF's pipeline {folder} has no {names[-1]}/*.safetensors; give a "
                "folder with unet, vae and latent_encoder"
            )
        try:
            part = load_file(files[0])
        except (SafetensorError, OSError):
            raise UserError(f"weights {files[0]} are not safetensors") from None
        state |= {prefix + name: tensor for name, tensor in part.items()}
    return state


def convert(state: State) -> dict[str, Tensor]:
    """Weights of a `LatentDiffusion` from the joined state dict of a pipeline.

    Of the encoder's last convolution the mean's half is kept: no other is used.

    Raises
    ------
    UserError
        A part is missing.
    """
    if any(name.startswith("image_encoder.") for name in state):
        return dict(state)  # converted before
    parts = {prefix: below(state, prefix) for prefix in _FOLDERS}
    for prefix, part in parts.items():
        if not part:
            raise UserError(
                f"checkpoint is not LEAF's: it holds no {prefix.rstrip('.')}; give the "
                "folder of a pipeline, with unet, vae and latent_encoder"
            )
    encoder = diffusers_names(parts["latent_encoder."])
    latent = encoder["quant_conv.weight"].shape[0] // 2
    for name in ("weight", "bias"):
        encoder[f"head.{name}"] = encoder.pop(f"quant_conv.{name}")[:latent]
    joined = {
        "unet.": parts["unet."],
        "autoencoder.": diffusers_names(parts["vae."]),
        "image_encoder.": encoder,
    }
    return {
        prefix + name: tensor
        for prefix, part in joined.items()
        for name, tensor in part.items()
    }


def network(state: State) -> dict[str, Any]:
    """Name and configuration of the network whose published state dict this is."""
    mine = convert(state)
    autoencoder = autoencoder_config(below(mine, "autoencoder."))
    autoencoder.pop("image_channels")
    image = mine["image_encoder.encoder.conv_in.weight"].shape[1]
    return {
        "name": "latent_diffusion",
        "image_channels": image,
        "classes": 1,
        "autoencoder": autoencoder,
        "unet": unet_config(below(mine, "unet.")),
        "scale": 0.18215,
        "image_scale": 0.18215,
    }


def sampling() -> dict[str, Any]:
    """What the card's `Sampling` says: one step from noise, x0.

    Latents are clipped to [-1, 1] before they are decoded, as the scheduler of the
    public code does by default; the paper does not speak of it.
    """
    return {
        "steps": 1,
        "schedule": "linear",
        "timesteps": 1000,
        "betas": (0.0015, 0.0155),
        "sampler": "ddim",
        "prediction": "x0",
        "mask_range": (-1.0, 1.0),
        "clip": True,
    }


def preparation() -> dict[str, Any]:
    """What the card's `Preparation` says: 256 x 256 pixels, 0 to 255 to [-1, 1]."""
    return {
        "dims": 2,
        "channels": ("red", "green", "blue"),
        "size": (256, 256),
        "intensity": {"kind": "window", "low": 0.0, "high": 255.0},
    }
