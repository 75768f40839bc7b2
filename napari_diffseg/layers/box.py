"""The box that a user draws around what a proposal shall look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Region
from diffseg.volume import Display

_FLAT = 1e-6


def box_region(rectangles: Sequence[NDArray[np.floating]], display: Display) -> Region:
    """The box of rectangles that were drawn in slices, on the source's grid.

    The latest rectangle gives the extent along its two axes. Along the third one
    the latest rectangle from another plane gives it, where there is one; else the
    box reaches half the rectangle's larger side, in mm, to both sides of the slice.

    Parameters
    ----------
    rectangles : sequence of (N, 3) ndarrays
        Corners in shown voxels (plane, row, column), oldest first; at least one.
    display : Display
        From the source's grid to the shown one.

    Returns
    -------
    Region
        Within the image, and at least one voxel wide.
    """
    latest = np.asarray(rectangles[-1], float)
    low, high = latest.min(axis=0), latest.max(axis=0)
    flat = [axis for axis in range(3) if high[axis] - low[axis] < _FLAT]
    for axis in flat[:1]:
        other = _across(rectangles[:-1], axis)
        if other is not None:
            low[axis], high[axis] = other
        else:
            scale = np.asarray(display.scale)
            half = float(((high - low) * scale).max()) / 2 / scale[axis]
            low[axis], high[axis] = low[axis] - half, high[axis] + half
    ranges = [
        _voxels(start, stop, size)
        for start, stop, size in zip(low, high, display.shown.shape, strict=True)
    ]
    z, y, x = display.native_ranges(ranges)
    return Region(z, y, x)


def kept(rectangles: Sequence[NDArray[np.floating]]) -> list[int]:
    """Which rectangles count: the latest of each plane, oldest first."""
    latest: dict[tuple[bool, ...], int] = {}
    for index, corners in enumerate(rectangles):
        spread = np.ptp(np.asarray(corners, float), axis=0)
        latest[tuple(bool(one < _FLAT) for one in spread)] = index
    return sorted(latest.values())


def _across(
    rectangles: Sequence[NDArray[np.floating]], axis: int
) -> tuple[float, float] | None:
    for corners in reversed(rectangles):
        along = np.asarray(corners, float)[:, axis]
        if np.ptp(along) >= _FLAT:
            return float(along.min()), float(along.max())
    return None


def _voxels(low: float, high: float, size: int) -> tuple[int, int]:
    """Half-open range of the voxels whose centres lie within, at least one."""
    start = int(np.clip(np.ceil(low - _FLAT), 0, size - 1))
    stop = int(np.clip(np.floor(high + _FLAT) + 1, start + 1, size))
    return start, stop
