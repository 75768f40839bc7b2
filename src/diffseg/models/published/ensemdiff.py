"""Checkpoints of EnsemDiff (Wolleb et al. 2022), as its public code saves them.

They are bare state dicts, the moving average in a file of its own
(``emasavedmodel_...``); names are those of `diffseg.networks.guided_unet`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffseg.models.published._guided import STEM, State, guided_config, variance


def convert(state: State) -> dict[str, Tensor]:
    """Weights of a `GuidedUNet` from a published state dict: the same."""
    return dict(state)


def network(state: State) -> dict[str, Any]:
    """Name and configuration of the network whose published state dict this is.

    One channel of the input is taken to be the mask's, and one head to attend, as the
    authors' commands say.
    """
    config = guided_config(state, "EnsemDiff")
    return {
        "name": "guided_unet",
        **config,
        "image_channels": state[STEM].shape[1] - 1,
        "mask_channels": 1,
        "learned_variance": variance(state, 1, "EnsemDiff"),
        "heads": 1,
    }


def sampling() -> dict[str, Any]:
    """What the card's `Sampling` says: 1000 steps, learned variance, mask in {0, 1}."""
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
    }


def preparation() -> dict[str, Any]:
    """What the card's `Preparation` says: MR slices as they are, [0, 1] a channel.

    The public code reads prepared files and does not say how they were scaled.
    """
    return {
        "dims": 2,
        "channels": ("t1", "t1ce", "t2", "flair"),
        "intensity": {"kind": "range", "to": (0.0, 1.0)},
    }
