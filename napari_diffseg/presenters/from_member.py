"""One member's answer for a region: where it differs from the mask, it is taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.domain import Change, Region
from diffseg.errors import UserError

Voxel = tuple[int, int, int]


def take_region(
    values: NDArray[np.uint8],
    member: NDArray[np.uint8],
    at: Voxel,
    within: Region | None = None,
) -> Change:
    """Take a member's answer for the connected region under a voxel.

    The region is the piece in which member and mask differ; where they agree at
    the voxel, it is the structure there with all in which they differ on it.

    Parameters
    ----------
    values, member : (Z, Y, X) uint8 ndarray
        The mask in hand, and the member's.
    at : (plane, row, column)
    within : Region, optional
        Only here, and connected here.

    Raises
    ------
    UserError
        There is neither a difference nor a structure at the voxel.
    """
    box = (slice(None),) * 3 if within is None else within.slices
    starts = (0, 0, 0) if within is None else tuple(s for s, _ in within.ranges)
    here, there = values[box], member[box]
    spot = tuple(index - start for index, start in zip(at, starts, strict=True))
    inside = all(0 <= i < n for i, n in zip(spot, here.shape, strict=True))
    differs = here != there
    if inside and differs[spot]:
        piece = _piece(differs, spot)
    elif inside and (here[spot] or there[spot]):
        piece = _piece((here != 0) | (there != 0), spot) & differs
    else:
        raise UserError(
            "nothing is there: press a place where the member has another answer"
        )
    return _change(here, there, piece, starts)


def take_box(
    values: NDArray[np.uint8], member: NDArray[np.uint8], box: Region
) -> Change:
    """Take a member's answer wherever it differs within a box."""
    here, there = values[box.slices], member[box.slices]
    starts = tuple(start for start, _ in box.ranges)
    return _change(here, there, here != there, starts)


def _piece(there: NDArray[np.bool_], spot: tuple[int, ...]) -> NDArray[np.bool_]:
    """The part of what is set that hangs together with a voxel by its faces."""
    labels, _ = ndimage.label(there)
    found: NDArray[np.bool_] = labels == labels[spot]
    return found


def _change(
    here: NDArray[np.uint8],
    there: NDArray[np.uint8],
    piece: NDArray[np.bool_],
    starts: tuple[int, ...],
) -> Change:
    found = np.nonzero(piece)
    z, y, x = (
        (axis + start).astype(np.int32)
        for axis, start in zip(found, starts, strict=True)
    )
    return Change((z, y, x), here[found].copy(), there[found].copy())
