"""Margins: a class grown or shrunk by so many millimetres on all sides."""

from __future__ import annotations

import math

from diffseg.domain import Change
from diffseg.editing.distances import near, reach_of
from diffseg.editing.workpiece import Workpiece
from diffseg.errors import UserError


def margin(piece: Workpiece, mm: float) -> Change:
    """Grow a class by a margin, or shrink it.

    Grown, it has every voxel whose centre is within `mm` of the centre of one of its
    own: a dilation by a ball in mm, however the voxels are spaced. It stops at other
    classes, unless the workpiece may take them. Shrunk, it loses every voxel that is
    within ``-mm`` of one that is not its own. Beyond the part in hand nothing is known:
    there it neither comes in nor is lost.

    Parameters
    ----------
    mm : float
        > 0 grows, < 0 shrinks; in voxels without millimetres.

    Raises
    ------
    UserError
        The class is not drawn here, `mm` is not finite, or nothing would be left.
    """
    if not math.isfinite(mm):
        raise UserError(f"a margin of {mm} mm; give a number, below 0 to shrink")
    box = piece.bounds(reach_of(abs(mm), piece.steps))
    own = piece.mask(box)
    if mm >= 0:
        return piece.change_to(box, near(own, mm, piece.steps))
    left = own & ~near(~own, -mm, piece.steps)
    if not left.any():
        raise UserError(
            f"nothing of {piece.called} is left of a margin of {mm:g}; give less"
        )
    return piece.change_to(box, left)
