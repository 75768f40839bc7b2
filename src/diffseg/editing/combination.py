"""Boolean operations between classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Change
from diffseg.editing.workpiece import Workpiece, bounds_of, together
from diffseg.errors import UserError

Mask = NDArray[np.bool_]
Operation = Literal["union", "intersection", "difference", "exclusive"]
_DO: dict[str, Callable[[Mask, Mask], Mask]] = {
    "union": np.logical_or,
    "intersection": np.logical_and,
    "difference": lambda a, b: a & ~b,
    "exclusive": np.logical_xor,
}


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A class of a mask: of the one in hand, or of another one on its grid.

    Parameters
    ----------
    values : (Z, Y, X) uint8 ndarray
    value : int
    name : str
        In messages.
    """

    values: NDArray[np.uint8]
    value: int
    name: str = ""


def combine(
    piece: Workpiece, first: Operand, second: Operand, operation: Operation
) -> Change:
    """Make the workpiece's class what two classes give together.

    The class becomes the result: it leaves what does not belong to it, which becomes
    background, and takes voxels of the two from the mask in hand. Others are taken only
    where the workpiece may.

    Parameters
    ----------
    operation : {"union", "intersection", "difference", "exclusive"}
        In either, in both, in the first only, in one but not both.

    Raises
    ------
    UserError
        An operation that is not known, two classes that cannot overlap, or neither is
        drawn here.
    ValueError
        Grids differ.
    """
    if operation not in _DO:
        raise UserError(f"operation {operation!r}; take one of {', '.join(_DO)}")
    if not first.values.shape == second.values.shape == piece.values.shape:
        raise ValueError("operands on different grids")
    same = first.values is second.values
    if same and operation == "intersection" and first.value != second.value:
        raise UserError(
            "two classes of one mask never overlap: nothing is in both; "
            "compare with another mask, such as the proposal"
        )
    operands = (first, second)
    boxes = [bounds_of(one.values, one.value, piece.box) for one in operands]
    if not any(boxes):
        names = " nor ".join(one.name or f"class {one.value}" for one in operands)
        raise UserError(
            f"neither {names} is drawn in this part of the mask; take a larger part"
        )
    own = bounds_of(piece.values, piece.value, piece.box)
    box = together(*boxes, own)
    assert box is not None
    a, b = (one.values[box] == one.value for one in operands)
    taking = {0} | {one.value for one in operands if one.values is piece.values}
    return piece.change_to(box, _DO[operation](a, b), taking)
