"""One slice's shape, given to its neighbours."""

from __future__ import annotations

import numpy as np

from diffseg.domain import Change
from diffseg.editing.workpiece import Box, Workpiece, joined
from diffseg.errors import UserError


def copy_slice(piece: Workpiece, *, axis: int, source: int, count: int) -> Change:
    """Give the shape that a class has in one slice to those that follow.

    In each of them the class becomes that shape.

    Parameters
    ----------
    axis : int
        Axis that slices are counted along.
    source : int
        Slice to copy, an index of the mask along `axis`.
    count : int
        How many slices get it: after `source`, or before it where negative. Those
        beyond the part in hand are left out.

    Raises
    ------
    UserError
        The class is not drawn in that slice, or there is no slice to copy it to.
    """
    whole = piece.box[axis]
    if not whole.start <= source < whole.stop:
        raise UserError(f"slice {source} is not in {whole.start}:{whole.stop}")
    step = 1 if count > 0 else -1
    last = min(max(source + count, whole.start), whole.stop - 1)
    if last == source:
        raise UserError("there is no slice to copy to; look at another one, or turn")
    wanted = piece.mask(_at(piece.box, axis, source))
    if not wanted.any():
        raise UserError(
            f"{piece.called} is not drawn in this slice; look at one where it is"
        )
    targets = range(source + step, last + step, step)
    return joined(
        [piece.change_to(_at(piece.box, axis, one), wanted) for one in targets]
    )


def drawn_slices(piece: Workpiece, axis: int) -> list[int]:
    """Indices of the slices along an axis in which the class is drawn.

    Raises
    ------
    UserError
        It is not drawn at all.
    """
    box = piece.bounds()
    return [
        index
        for index in range(box[axis].start, box[axis].stop)
        if np.any(piece.mask(_at(box, axis, index)))
    ]


def _at(box: Box, axis: int, index: int) -> Box:
    z, y, x = (
        slice(index, index + 1) if one == axis else part for one, part in enumerate(box)
    )
    return z, y, x
