"""A brush that paints only what looks like what is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.domain import Change
from diffseg.editing.distances import ball, reach_of
from diffseg.editing.workpiece import Workpiece, widened
from diffseg.errors import UserError

Mask = NDArray[np.bool_]


def within_range(
    brush: Mask,
    intensities: NDArray[Any],
    center: Sequence[int],
    low: float,
    high: float,
) -> Mask:
    """The part of a brush that fits, and hangs together with its centre.

    Parameters
    ----------
    brush : bool ndarray
        What the brush covers, in a box of any dimension.
    intensities : ndarray of that shape
    center : sequence of int
        In the box; nothing is left where it does not fit itself.
    low, high : float
        Intensities that fit, both included.
    """
    fits = brush & (intensities >= low) & (intensities <= high)
    at = tuple(center)
    if any(not 0 <= i < n for i, n in zip(at, fits.shape, strict=True)) or not fits[at]:
        return np.zeros_like(brush)
    pieces, _ = ndimage.label(fits)
    found: Mask = pieces == pieces[at]
    return found


def seed_range(intensities: NDArray[Any], spread: float = 2.5) -> tuple[float, float]:
    """The range of intensities like those of a seed: mean and `spread` deviations.

    Robust: the median, and the median deviation from it times 1.4826, which is a
    normal distribution's standard deviation; a few voxels of something else do not
    matter. Where all are equal, the range holds that one value.

    Parameters
    ----------
    intensities : ndarray
        Of the voxels around the place where a stroke starts; those that are no number
        are left out.
    """
    finite = np.asarray(intensities, np.float64).ravel()
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        raise UserError("the image has no intensity here; start where it has")
    middle = float(np.median(finite))
    deviation = 1.4826 * float(np.median(np.abs(finite - middle)))
    return middle - spread * deviation, middle + spread * deviation


def paint_within(
    piece: Workpiece,
    image: NDArray[Any],
    center: tuple[int, int, int],
    radius: float,
    low: float,
    high: float,
) -> Change:
    """Paint a ball (a disc, in a part one voxel thick) where intensities fit.

    Parameters
    ----------
    image : (Z, Y, X) ndarray
        Intensities on the mask's grid.
    center : (plane, row, column)
    radius : float
        In mm, > 0.
    low, high : float
        As of `within_range`.

    Raises
    ------
    UserError
        The centre is not in the part in hand, or the range is empty.
    """
    inside = all(p.start <= i < p.stop for i, p in zip(center, piece.box, strict=True))
    if not inside or not low <= high:
        raise UserError(f"nothing to paint at {center} from {low:g} to {high:g}")
    reach = reach_of(radius, piece.steps)
    z, y, x = (slice(i, i + 1) for i in center)
    box = widened((z, y, x), reach, piece.box)
    offsets = [
        part.start - i + n for part, i, n in zip(box, center, reach, strict=True)
    ]
    cut = tuple(
        slice(at, at + part.stop - part.start)
        for at, part in zip(offsets, box, strict=True)
    )
    brush = ball(radius, piece.steps)[cut]
    at = [i - part.start for i, part in zip(center, box, strict=True)]
    found = within_range(brush, image[box], at, low, high)
    return piece.change_to(box, found | piece.mask(box))
