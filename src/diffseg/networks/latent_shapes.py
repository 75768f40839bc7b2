"""The configuration of latent networks, read from the shapes of their weights.

What no shape tells is left out, and takes its default: the number of heads and of
groups, and the share dropped in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diffseg.errors import UserError

State = Mapping[str, Tensor]


def unet_config(state: State) -> dict[str, Any]:
    """Configuration of a `LatentUNet` whose weights are `state`.

    Returns
    -------
    dict
        channels, multipliers, blocks, attention and film.
    """
    channels = _shape(state, "time_embed.0.weight")[1]
    # The way up marks its levels: the last block of all but the finest resamples.
    ends = [
        int(found[1])
        for name in state
        if (found := re.match(r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.w", name))
    ]
    count = _count(state, r"output_blocks\.(\d+)\.")
    blocks = min(ends, default=count - 1)
    firsts = [1 + level * (blocks + 1) for level in range(count // (blocks + 1))]
    widths = [
        _shape(state, f"input_blocks.{i}.0.in_layers.2.weight")[0] for i in firsts
    ]
    told = _shape(state, "input_blocks.1.0.emb_layers.1.weight")[0]
    return {
        "channels": channels,
        "multipliers": [width // channels for width in widths],
        "blocks": blocks,
        "attention": [
            2**level
            for level, first in enumerate(firsts)
            if f"input_blocks.{first}.1.qkv.weight" in state
        ],
        "film": told == 2 * widths[0],
    }


def autoencoder_config(state: State) -> dict[str, Any]:
    """Configuration of a `KLAutoencoder` of weights `state`, by diffusers' names.

    Returns
    -------
    dict
        image_channels, latent_channels, channels, multipliers and blocks.
    """
    first = _shape(state, "encoder.conv_in.weight")
    levels = _count(state, r"encoder\.down_blocks\.(\d+)\.")
    names = [
        f"encoder.down_blocks.{level}.resnets.0.conv1.weight" for level in range(levels)
    ]
    return {
        "image_channels": first[1],
        "latent_channels": _shape(state, "post_quant_conv.weight")[1],
        "channels": first[0],
        "multipliers": [_shape(state, name)[0] // first[0] for name in names],
        "blocks": _count(state, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
    }


def below(state: State, prefix: str) -> dict[str, Tensor]:
    """Weights of `state` whose name begins with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def _count(state: State, pattern: str) -> int:
    """One more than the highest number that `pattern` finds in the names; or 0."""
    found = (re.match(pattern, name) for name in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _shape(state: State, name: str) -> tuple[int, ...]:
    if name not in state:
        raise UserError(f"checkpoint holds no {name}: it is of another architecture")
    return tuple(state[name].shape)
