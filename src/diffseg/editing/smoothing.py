"""Smoothing of a class's surface."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from diffseg.domain import Change
from diffseg.editing.distances import (
    ball,
    finite,
    reach_of,
    signed_distance,
    slab_field,
)
from diffseg.editing.workpiece import Workpiece
from diffseg.errors import UserError

Method = Literal["median", "gaussian"]
"""``median``: what most of a ball around a voxel is; ``gaussian``: the signed distance,
blurred."""

_WIDTHS = 3  # standard deviations after which a Gaussian is cut


def smooth(
    piece: Workpiece,
    radius: float,
    *,
    method: Method = "median",
    keep_volume: bool = False,
) -> Change:
    """Smooth the surface of a class.

    Parameters
    ----------
    radius : float
        Of the ball, or the standard deviation of the Gaussian, in mm (voxels without
        millimetres); > 0. Details much smaller than it go.
    method : {"median", "gaussian"}
        The Gaussian blurs the signed distance, cut at three standard deviations.
    keep_volume : bool
        Move the surface so that the class keeps its number of voxels, as nearly as
        the field can tell them apart. Plain smoothing shrinks what is round.

    Raises
    ------
    UserError
        The class is not drawn here, `radius` is none, or nothing would be left.
    """
    if method not in get_args(Method) or not 0 < radius < np.inf:
        raise UserError(f"{method} of {radius} mm; take median or gaussian, above 0 mm")
    far = radius if method == "median" else 2 * _WIDTHS * radius
    pad = reach_of(far, piece.steps)
    box = piece.bounds(pad)
    own = piece.mask(box)
    # Beyond the image, or the part in hand, all goes on as at its edge.
    wide = np.pad(own, [(n, n) for n in pad], mode="edge")
    field = (
        _shares(wide, radius, piece)
        if method == "median"
        else _blurred(wide, radius, pad, piece)
    )
    if not piece.over:
        labels = piece.values[box]
        field[(labels != 0) & ~own] = -np.inf
    wanted = _as_many(field, int(np.count_nonzero(own))) if keep_volume else field > 0
    if not wanted.any():
        raise UserError(
            f"nothing of {piece.called} is left when smoothed by {radius:g}; "
            "take a smaller radius, or keep its volume"
        )
    return piece.change_to(box, wanted)


def _shares(
    wide: NDArray[np.bool_], radius: float, piece: Workpiece
) -> NDArray[np.float32]:
    """Voxels of the class in the ball around each voxel, less half of the ball's."""
    kernel = ball(radius, piece.steps).astype(np.float32)
    half = np.float32(kernel.sum() / 2)

    def count(part: NDArray[np.bool_]) -> NDArray[np.float32]:
        # Counts are whole: rounded, they are exact however they were summed.
        found = signal.fftconvolve(part.astype(np.float32), kernel, mode="valid")
        return np.asarray(np.rint(found) - half, np.float32)

    return slab_field(wide, kernel.shape[0] // 2, count)


def _blurred(
    wide: NDArray[np.bool_],
    sigma: float,
    pad: tuple[int, int, int],
    piece: Workpiece,
) -> NDArray[np.float32]:
    """The signed distance, cut and blurred."""
    most = _WIDTHS * sigma
    sigmas = [
        0.0 if axis in piece.flat else sigma / step
        for axis, step in enumerate(finite(piece.steps))
    ]
    inner = tuple(slice(n, -n or None) for n in pad)

    def blur(part: NDArray[np.bool_]) -> NDArray[np.float32]:
        signed = np.clip(signed_distance(part, piece.steps), -most, most)
        blurred = ndimage.gaussian_filter(
            signed.astype(np.float32), sigmas, truncate=_WIDTHS
        )
        return np.asarray(blurred[inner], np.float32)

    return slab_field(wide, pad[0], blur)


def _as_many(field: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Where the field is largest, in about `count` places; equal ones go together."""
    place = field.size - count
    level = np.partition(field, place, axis=None)[place]
    more, fewer = field >= level, field > level
    above = int(np.count_nonzero(fewer))
    near_above = above > 0 and count - above < np.count_nonzero(more) - count
    chosen: NDArray[np.bool_] = fewer if near_above else more
    return chosen
