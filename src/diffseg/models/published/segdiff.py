"""Checkpoints of SegDiff (Amit et al. 2021), as its public code saves them.

They are bare state dicts, the moving average in a file of its own (``ema_...``);
names are those of `diffseg.networks.segdiff`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffseg.errors import UserError
from diffseg.models.published._guided import STEM, State, guided_config, variance

_READER = "rrdb.conv_first.weight"


def convert(state: State) -> dict[str, Tensor]:
    """Weights of a `SegDiff` from a published state dict: the same."""
    return dict(state)


def network(state: State) -> dict[str, Any]:
    """Name and configuration of the network whose published state dict this is.

    Four heads are taken to attend, as the authors' commands say.
    """
    if _READER not in state:
        raise UserError(f"checkpoint is not SegDiff's: it holds no {_READER}")
    config = guided_config(state, "SegDiff")
    mask = state[STEM].shape[1]
    trunk = {name.split(".")[2] for name in state if name.startswith("rrdb.RRDB_")}
    return {
        "name": "segdiff",
        **config,
        "image_channels": state[_READER].shape[1],
        "mask_channels": mask,
        "learned_variance": variance(state, mask, "SegDiff"),
        "heads": 4,
        "conditioning": "once",
        "reader_blocks": len(trunk),
        "reader_width": state[_READER].shape[0],
        "reader_growth": state["rrdb.RRDB_trunk.0.RDB1.conv1.weight"].shape[0],
    }


def sampling() -> dict[str, Any]:
    """What the card's `Sampling` says: 100 steps, variance beta, mask in {-1, 1}."""
    return {
        "members": 9,
        "steps": 100,
        "schedule": "linear",
        "timesteps": 100,
        "sampler": "ddpm",
        "prediction": "eps",
        "variance": "fixed_large",
        "mask_range": (-1.0, 1.0),
        "clip": False,
    }


def preparation() -> dict[str, Any]:
    """What the card's `Preparation` says: MoNuSeg's, 512 pixels in tiles of 256."""
    return {
        "dims": 2,
        "channels": ("red", "green", "blue"),
        "size": (512, 512),
        "tile": (256, 256),
        "intensity": {
            "kind": "standard",
            "mean": (142.07, 98.48, 132.96),
            "deviation": (65.78, 57.05, 57.78),
        },
    }
