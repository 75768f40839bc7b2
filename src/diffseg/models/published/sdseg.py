"""Checkpoints of SDSeg (Lin et al. 2024), as its public code saves them.

One file holds the U-Net (``model.diffusion_model.``), its moving average
(``model_ema.``), the autoencoder (``first_stage_model.``), the image's encoder
(``cond_stage_model.``) and the measured ``scale_factor``.

Where its code differs from LEAF's: the mask's latent comes before the image's, which is
turned round here; the schedule it calls linear is linear in the roots of the betas; and
the image's latent is not scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diffseg.errors import UserError
from diffseg.networks.kl_autoencoder import diffusers_names
from diffseg.networks.latent_shapes import autoencoder_config, below, unet_config

State = Mapping[str, Tensor]

_UNET = "model.diffusion_model."
_STEM = "input_blocks.0.0.weight"


def convert(state: State) -> dict[str, Tensor]:
    """Weights of a `LatentDiffusion` from a published state dict.

    The U-Net's moving average is taken where there is one: it is what the authors
    evaluate.

    Raises
    ------
    UserError
        A part is missing, or the network is told the class (more than one class).
    """
    if "unet." + _STEM in state:
        return dict(state)  # converted before
    unet = below(state, _UNET)
    if _STEM not in unet:
        raise UserError(f"checkpoint is not SDSeg's: it holds no {_UNET}{_STEM}")
    if "label_emb.weight" in unet:
        raise UserError(
            "checkpoint is SDSeg's for several classes, whose network is told a class; "
            "give one for a single class"
        )
    unet = _averaged(unet, below(state, "model_ema."))
    mask, image = unet[_STEM].chunk(2, dim=1)
    unet[_STEM] = torch.cat([image, mask], dim=1)
    encoder = below(state, "cond_stage_model.")
    parts = {
        "unet.": unet,
        "autoencoder.": diffusers_names(below(state, "first_stage_model.")),
        "image_encoder.": diffusers_names(encoder)
        | {f"head.{name}": t for name, t in below(encoder, "out.").items()},
    }
    result = {
        prefix + name: tensor
        for prefix, part in parts.items()
        for name, tensor in part.items()
    }
    if "scale_factor" not in state:
        raise UserError("checkpoint is not SDSeg's: it holds no scale_factor")
    return result | {"mask_scale": state["scale_factor"]}


def _averaged(unet: State, averages: State) -> dict[str, Tensor]:
    """`unet`, or its moving average, which bears its names without their dots."""
    if not averages:
        return dict(unet)
    return {name: averages["diffusion_model" + name.replace(".", "")] for name in unet}


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
        "scale": "measured",
        "image_scale": 1.0,
    }


def sampling() -> dict[str, Any]:
    """What the card's `Sampling` says: one step from noise, eps, nothing clipped."""
    return {
        "steps": 1,
        "schedule": "scaled_linear",
        "timesteps": 1000,
        "betas": (0.0015, 0.0155),
        "sampler": "ddim",
        "prediction": "eps",
        "mask_range": (-1.0, 1.0),
        "clip": False,
    }


def preparation() -> dict[str, Any]:
    """What the card's `Preparation` says: 256 x 256 pixels, 0 to 255 to [-1, 1]."""
    return {
        "dims": 2,
        "channels": ("red", "green", "blue"),
        "size": (256, 256),
        "intensity": {"kind": "window", "low": 0.0, "high": 255.0},
    }
