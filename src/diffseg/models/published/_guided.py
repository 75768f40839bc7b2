"""What names and shapes tell of a guided-diffusion U-Net."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diffseg.errors import UserError

State = Mapping[str, Tensor]

STEM = "input_blocks.0.0.weight"


def guided_config(state: State, kind: str) -> dict[str, Any]:
    """Configuration of the U-Net; heads leave no trace in names or shapes.

    Raises
    ------
    UserError
        A name is missing that every such network has.
    """
    for name in (STEM, "out.2.weight", "middle_block.1.qkv.weight"):
        if name not in state:
            raise UserError(f"checkpoint is not {kind}'s: it holds no {name}")
    if "label_emb.weight" in state:
        raise UserError(
            f"checkpoint is {kind}'s with a class embedding (class_cond), which no "
            "network here has; give one that was trained without"
        )
    channels = state[STEM].shape[0]
    levels, attention, residual = _way_down(state)
    first = state["input_blocks.1.0.emb_layers.1.weight"].shape[0]
    return {
        "dims": state[STEM].ndim - 2,
        "channels": channels,
        "multipliers": [widths[-1] // channels for widths in levels],
        "blocks": len(levels[0]),
        "attention": attention,
        "film": first == 2 * levels[0][0],
        "residual_resampling": residual,
    }


def _way_down(state: State) -> tuple[list[list[int]], list[int], bool]:
    """Widths of each level's blocks, downsamplings that attend, what resamples."""
    learned = sorted(_indices(state, r"input_blocks\.(\d+)\.0\.op\.weight"))
    inputs = _indices(state, r"input_blocks\.(\d+)\.")
    ups = _indices(state, r"output_blocks\.(\d+)\.\d+\.conv\.weight")
    residual = not learned and not ups
    halvings = set(learned)
    if residual:  # on the way up, a second residual block is what enlarges
        marks = _indices(state, r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight")
        each = min(marks, default=len(inputs)) + 1
        halvings = set(range(each, max(inputs), each))
    levels: list[list[int]] = [[]]
    attention = set()
    for index in range(1, max(inputs) + 1):
        if index in halvings:
            levels.append([])
            continue
        weight = state[f"input_blocks.{index}.0.out_layers.3.weight"]
        levels[-1].append(weight.shape[0])
        if f"input_blocks.{index}.1.qkv.weight" in state:
            attention.add(2 ** (len(levels) - 1))
    return levels, sorted(attention), residual


def _indices(state: State, pattern: str) -> set[int]:
    found = (re.match(pattern, name) for name in state)
    return {int(match[1]) for match in found if match}


def variance(state: State, mask_channels: int, kind: str) -> bool:
    """Whether the answer places a variance beside the mask's channels."""
    out = state["out.2.weight"].shape[0]
    if out not in (mask_channels, 2 * mask_channels):
        raise UserError(
            f"checkpoint is not {kind}'s: {out} channels leave it, for "
            f"{mask_channels} of the mask"
        )
    return bool(out == 2 * mask_channels)
