"""Pieces of a class that hang together, and those that are not wanted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.domain import Change
from diffseg.editing.workpiece import Workpiece
from diffseg.errors import UserError


def keep_largest(piece: Workpiece) -> Change:
    """Remove all of a class but its largest piece; of equal ones the first stays.

    Voxels hang together where they share a face.

    Raises
    ------
    UserError
        The class is not drawn here.
    """
    box = piece.bounds()
    labelled, sizes = _pieces(piece.mask(box))
    return piece.change_to(box, labelled == 1 + int(np.argmax(sizes)))


def remove_islands(piece: Workpiece, smaller_than: float) -> Change:
    """Remove the pieces of a class that are smaller than a size.

    Parameters
    ----------
    smaller_than : float
        In mm³; in mm² where the part in hand is one voxel thick. > 0.

    Raises
    ------
    UserError
        The class is not drawn here, `smaller_than` is no size, or every piece is
        smaller than it.
    """
    if not smaller_than > 0:
        raise UserError(f"islands smaller than {smaller_than:g}: give a size above 0")
    box = piece.bounds()
    labelled, sizes = _pieces(piece.mask(box))
    measures = sizes * voxel_measure(piece)
    stays = measures >= smaller_than * (1 - 1e-9)
    if not stays.any():
        raise UserError(
            f"every piece of {piece.called} is smaller than {smaller_than:g}; the "
            f"largest one has {measures.max():.4g}: give a smaller size"
        )
    return piece.change_to(box, np.concatenate([[False], stays])[labelled])


def voxel_measure(piece: Workpiece) -> float:
    """Volume of a voxel in mm³; its area in mm² where the part is one voxel thick."""
    axes = [axis for axis in range(3) if len(piece.flat) != 1 or axis not in piece.flat]
    return float(np.prod([piece.spacing[axis] for axis in axes]))


def _pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbers of the pieces from 1, 0 outside; and how many voxels each has."""
    labelled, _ = ndimage.label(mask)
    return labelled, np.bincount(labelled.ravel())[1:]
