"""Holes in a class: background that it encloses."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffseg.domain import Change
from diffseg.editing.workpiece import Workpiece


def fill_holes(piece: Workpiece, *, axis: int | None = None) -> Change:
    """Fill what a class encloses on all sides.

    A hole is what no path over faces joins with the outside of the class's box; other
    classes in it stay as they are, unless the workpiece may take them.

    Parameters
    ----------
    axis : int, optional
        Look at each slice along this axis by itself; without it at the volume, or at
        the one slice where the part in hand is one voxel thick.

    Raises
    ------
    UserError
        The class is not drawn here.
    """
    box = piece.bounds()
    mask = piece.mask(box)
    axes = set(piece.flat) if axis is None else {axis}
    if len(axes) > 1:  # in a row of voxels nothing is a hole
        return piece.change_to(box, mask)
    if not axes:
        return piece.change_to(box, ndimage.binary_fill_holes(mask))
    along = axes.pop()
    filled = np.zeros_like(mask)
    for one, result in zip(
        np.moveaxis(mask, along, 0), np.moveaxis(filled, along, 0), strict=True
    ):
        if one.any():
            result[...] = ndimage.binary_fill_holes(one)
    return piece.change_to(box, filled)
