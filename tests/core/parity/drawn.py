"""Weights and inputs that anybody can draw again, and the networks they are for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIDE = 64  # of the images
EVERY = 4  # pixels along each axis of which one is stored

_GUIDED = {
    "channels": 32,
    "multipliers": (1, 1, 2, 2, 4, 4),
    "blocks": 2,
    "heads": 1,
    "attention": (16,),
    "film": False,
}
CASES: dict[str, dict[str, Any]] = {
    "ensemdiff": {
        "kind": "ensemdiff",
        "config": {**_GUIDED, "residual_resampling": False},
    },
    "ensemdiff_options": {  # what its flags can switch on
        "kind": "ensemdiff",
        "config": {
            **_GUIDED,
            "multipliers": (1, 2, 3),
            "heads": 4,
            "attention": (2, 4),
            "film": True,
            "residual_resampling": True,
        },
    },
    "segdiff": {  # MoNuSeg's levels, blocks, heads and attention
        "kind": "segdiff",
        "config": {
            "channels": 32,
            "multipliers": (1, 1, 1, 2, 2, 4, 4),
            "blocks": 3,
            "heads": 4,
            "attention": (16, 32),
            "film": False,
            "reader_blocks": 2,
        },
    },
    "medsegdiff_v1": {
        "kind": "medsegdiff",
        "config": {**_GUIDED, "version": "v1", "image_size": SIDE},
    },
    "medsegdiff_new": {"kind": "medsegdiff", "config": {**_GUIDED, "version": "new"}},
}


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers that depend on name and shape alone."""
    source = np.random.default_rng(zlib.crc32(name.encode()))
    numbers = source.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(np.asarray(numbers))


def weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of these names and shapes: activations neither vanish nor explode."""
    return {name: _weight(name, tensor) for name, tensor in state.items()}


def _weight(name: str, like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros_like(like)
    numbers = drawn(name, tuple(like.shape))
    if name.endswith("complex_weight"):
        return numbers
    if like.ndim > 1:
        # The condition network shrinks what it is told: its share must be seen.
        gain = 1.25 if name.startswith("hwm.") else 1.0
        return gain * numbers / like[0].numel() ** 0.5
    if name.endswith("running_var"):
        return 0.5 + numbers.abs()
    return 0.2 * numbers + float(name.endswith("weight"))


def inputs(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy masks, timesteps, and images with `channels` channels."""
    noisy = drawn("noisy", (2, 1, SIDE, SIDE))
    image = drawn("image", (2, channels, SIDE, SIDE))
    return noisy, torch.tensor([17, 640]), image
