"""Distances in mm, slab by slab: memory is bounded by a slab, not by a box."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

_AT_ONCE = 2_000_000  # voxels; a distance map takes some 20 bytes for each
_HAIR = 1e-9  # of rounding: 3 x 0.7 mm is within 2.1 mm


def reach_of(radius: float, steps: Sequence[float]) -> tuple[int, int, int]:
    """Voxels along each axis that a radius in mm reaches; 0 along infinite steps."""
    z, y, x = (int(radius * (1 + _HAIR) / step) for step in steps)
    return z, y, x


def ball(radius: float, steps: Sequence[float]) -> Mask:
    """Which voxels of a box are no further than `radius` mm from its middle one."""
    z, y, x = (
        (np.arange(-n, n + 1) * (step if n else 1.0)) ** 2
        for n, step in zip(reach_of(radius, steps), steps, strict=True)
    )
    near: Mask = z[:, None, None] + y[:, None] + x <= (radius * (1 + _HAIR)) ** 2
    return near


def near(mask: Mask, radius: float, steps: Sequence[float]) -> Mask:
    """Voxels whose centre is within `radius` mm of the centre of one in the mask.

    As a dilation with `ball`, exactly, whatever the spacing.
    """
    halo = reach_of(radius, steps)[0]
    result = np.zeros_like(mask)
    for start, stop in slabs(mask.shape, halo):
        low = max(start - halo, 0)
        part = mask[low : stop + halo]
        if part.any():  # without any, there is no distance to it
            away = ndimage.distance_transform_edt(~part, sampling=finite(steps))
            found = away <= radius * (1 + _HAIR)
            result[start:stop] = found[start - low : stop - low]
    return result


def slab_field(
    mask: Mask, halo: int, field: Callable[[Mask], NDArray[Any]]
) -> NDArray[np.float32]:
    """Put a field together from slabs.

    Parameters
    ----------
    mask : (halo + Z + halo, Y', X') bool ndarray
    halo : int
        Planes to each side of a slab that `field` is to be given.
    field : callable
        From a part with its halo to (planes of the slab, Y, X).
    """
    depth = mask.shape[0] - 2 * halo
    parts = [
        field(mask[start : stop + 2 * halo]).astype(np.float32, copy=False)
        for start, stop in slabs((depth, *mask.shape[1:]), halo)
    ]
    return np.concatenate(parts)


def signed_distance(mask: Mask, steps: Sequence[float]) -> NDArray[np.float64]:
    """Distance in mm to the nearest voxel of the other side; > 0 inside.

    Infinite where there is no other side.
    """
    if mask.all() or not mask.any():
        return np.where(mask, np.inf, -np.inf)
    sampling = finite(steps)
    signed: NDArray[np.float64] = ndimage.distance_transform_edt(mask, sampling)
    signed -= ndimage.distance_transform_edt(~mask, sampling)
    return signed


def edge_distance(mask: Mask, steps: Sequence[float]) -> NDArray[np.float64]:
    """Distance in mm from the pixels' centres to the edge of a shape; > 0 inside.

    Exact for the outline that runs between pixels: its corners and the middles of its
    pieces lie on a grid of half the spacing, and one of them is nearest to a centre.

    Parameters
    ----------
    mask : (Y, X) bool ndarray
        What reaches its border goes on beyond it.

    Returns
    -------
    (Y, X) float64 ndarray
        Infinite where there is no edge.
    """
    rows, columns = mask.shape
    away = np.ones((2 * rows - 1, 2 * columns - 1), np.bool_)  # False on the outline
    upright = mask[:, :-1] != mask[:, 1:]
    level = mask[:-1] != mask[1:]
    away[0::2, 1::2] = ~upright
    away[1::2, 0::2] = ~level
    away[1::2, 1::2] = ~(upright[:-1] | upright[1:] | level[:, :-1] | level[:, 1:])
    if away.all():
        return np.where(mask, np.inf, -np.inf)
    half = [step / 2 for step in steps]
    far = ndimage.distance_transform_edt(away, sampling=half)[::2, ::2]
    signed: NDArray[np.float64] = np.where(mask, far, -far)
    return signed


def finite(steps: Sequence[float]) -> list[float]:
    """Steps as distance transforms take them: along a single plane any will do."""
    return [step if np.isfinite(step) else 1.0 for step in steps]


def slabs(shape: Sequence[int], halo: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of planes that are looked at together."""
    plane = max(1, int(np.prod(shape[1:])))
    several = max(1, 2 * halo, _AT_ONCE // plane)
    for start in range(0, shape[0], several):
        yield start, min(start + several, shape[0])
