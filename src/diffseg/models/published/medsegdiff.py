"""Checkpoints of MedSegDiff (Wu et al. 2022), as its public code saves them.

They are bare state dicts, the moving average in a file of its own
(``emasavedmodel_...``); names are those of `diffseg.networks.medsegdiff`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffseg.errors import UserError
from diffseg.models.published._guided import STEM, State, guided_config, variance

_CONDITION = "hwm.conv_blocks_context.0.blocks.0.conv.weight"
_FILTER = "hwm.ffparser.0.complex_weight"
_EMBED = "hwm.embed"


def convert(state: State) -> dict[str, Tensor]:
    """Weights of a `MedSegDiff` or `DynamicMedSegDiff` from a published state dict.

    The first form's layer between condition network and bottom is in no checkpoint: the
    public code draws it anew at every call, around zero. It becomes its mean, zero.
    """
    mine = dict(state)
    if _drawn_anew(state):
        bottom = state["middle_block.1.norm.weight"].shape[0]
        depths = [
            int(name.split(".")[2])
            for name in state
            if name.startswith("hwm.conv_blocks_context.")
        ]
        last = f"hwm.conv_blocks_context.{max(depths)}.1.blocks.0.conv.weight"
        mine[f"{_EMBED}.weight"] = torch.zeros(bottom, state[last].shape[0], 1, 1)
        mine[f"{_EMBED}.bias"] = torch.zeros(bottom)
    return mine


def doubts(state: State) -> list[str]:
    """What had to be taken for granted, for the card."""
    if not _drawn_anew(state):
        return []
    return [
        "the layer between condition network and bottom is in no checkpoint, as the "
        "public code draws it anew at every call: here it is its mean, zero"
    ]


def _drawn_anew(state: State) -> bool:
    return _FILTER in state and f"{_EMBED}.weight" not in state


def network(state: State) -> dict[str, Any]:
    """Name and configuration of the network whose published state dict this is.

    One head is taken to attend, as the authors' commands say. The form is seen by the
    filters, which the newer one does not have.
    """
    if _CONDITION not in state:
        raise UserError(f"checkpoint is not MedSegDiff's: it holds no {_CONDITION}")
    config = guided_config(state, "MedSegDiff")
    image = state[_CONDITION].shape[1]
    mask = state[STEM].shape[1] - image
    found = {
        "name": "medsegdiff",
        "version": "v1" if _FILTER in state else "new",
        **config,
        "image_channels": image,
        "mask_channels": mask,
        "learned_variance": variance(state, mask, "MedSegDiff"),
        "heads": 1,
    }
    if _FILTER in state:
        found["image_size"] = 2 * state[_FILTER].shape[1]
    return found


def sampling() -> dict[str, Any]:
    """What the card's `Sampling` says: 1000 steps, learned variance, mask in {0, 1}.

    Members agree by STAPLE, as the paper says; what the public code calls so is
    ``squared_mean``.
    """
    return {
        "members": 5,
        "steps": 1000,
        "schedule": "linear",
        "timesteps": 1000,
        "sampler": "ddpm",
        "prediction": "eps",
        "variance": "learned",
        "mask_range": (0.0, 1.0),
        "clip": True,
        "consensus": "staple",
    }


def preparation() -> dict[str, Any]:
    """What the card's `Preparation` says: 256 x 256 pixels, 0 to 255 to [0, 1]."""
    return {
        "dims": 2,
        "channels": ("red", "green", "blue"),
        "size": (256, 256),
        "intensity": {"kind": "range", "low": 0.0, "high": 255.0, "to": (0.0, 1.0)},
    }
