"""Pixels beside pixels: what refinements of class maps share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Offset = tuple[int, int]


def ring_offsets(dilations: Sequence[int]) -> list[Offset]:
    """Steps (rows, columns) to the 8 neighbours at each of the distances."""
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return [(y * far, x * far) for far in dilations for y, x in steps]


def window_offsets(radius: int, spacing: int = 1) -> list[Offset]:
    """Steps (rows, columns) to all pixels of a square window, but its middle.

    `radius` is its reach; with a `spacing` only every so-manieth row and column.
    """
    reach = radius // spacing
    line = [spacing * i for i in range(-reach, reach + 1)]
    return [(y, x) for y in line for x in line if (y, x) != (0, 0)]


class Surrounded:
    """A field whose edges go on, so that its neighbours are parts of one copy.

    Parameters
    ----------
    field : (B, C, Y, X) Tensor
    offsets : sequence of (int, int)
        Of the neighbours that will be asked for.
    """

    def __init__(self, field: Tensor, offsets: Sequence[Offset]) -> None:
        self._reach = max(max(abs(y), abs(x)) for y, x in offsets)
        self._size = field.shape[2:]
        self._wide = functional.pad(field, (self._reach,) * 4, mode="replicate")

    def shifted(self, offset: Offset) -> Tensor:
        """Value at each pixel's neighbour, as `shifted` gives it; a view."""
        top, left = (self._reach + step for step in offset)
        rows, columns = self._size
        return self._wide[:, :, top : top + rows, left : left + columns]


def shifted(field: Tensor, offset: Offset, mode: str = "replicate") -> Tensor:
    """Value at each pixel's neighbour, (B, C, Y, X); `mode` is of what lies outside.

    ``replicate``: the nearest pixel inside; ``constant``: 0.
    """
    rows, columns = field.shape[2:]
    if mode == "replicate":
        y = torch.arange(rows, device=field.device) + offset[0]
        x = torch.arange(columns, device=field.device) + offset[1]
        inside = y.clamp(0, rows - 1)[:, None], x.clamp(0, columns - 1)
        return field[:, :, *inside]
    y_pad = max(-offset[0], 0), max(offset[0], 0)
    x_pad = max(-offset[1], 0), max(offset[1], 0)
    wide = functional.pad(field, (*x_pad, *y_pad))
    top, left = max(offset[0], 0), max(offset[1], 0)
    return wide[:, :, top : top + rows, left : left + columns]
