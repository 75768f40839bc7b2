"""What a tool of the panel "Correct" does: from the user's settings to a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Change, LabelTable, Region
from diffseg.editing import (
    Method,
    Operand,
    Operation,
    Workpiece,
    combine,
    copy_slice,
    fill_holes,
    interpolate,
    keep_largest,
    margin,
    remove_islands,
    smooth,
)
from diffseg.errors import UserError
from napari_diffseg.presenters.from_member import Voxel, take_box, take_region
from napari_diffseg.presenters.tables import without_absent
from napari_diffseg.session import Case
from napari_diffseg.views import Edit, EditTool

HERE, PROPOSED = "mask", "proposal"
ACROSS: frozenset[EditTool] = frozenset({"interpolate", "copy"})
"""Tools that go from slice to slice, whatever the scope."""


@dataclass(frozen=True, slots=True, eq=False)
class Errand:
    """All that a tool needs, taken from the window; it runs in any thread.

    Parameters
    ----------
    edit : Edit
    piece : Workpiece
        The structure in hand, or the one that a combination goes to.
    axis : int
        Of the source, along which one leafs.
    here : int
        Index of the slice that is looked at.
    forward : bool
        Whether slices that come next have larger indices.
    operands : tuple of two Operand, optional
        What is combined.
    member : (Z, Y, X) uint8 ndarray, optional
        The member that is taken from.
    at : (plane, row, column)
        The voxel that was pressed last.
    box : Region, optional
        The box that was drawn.
    """

    edit: Edit
    piece: Workpiece
    axis: int
    here: int
    forward: bool
    operands: tuple[Operand, Operand] | None = None
    member: NDArray[np.uint8] | None = None
    at: Voxel = (0, 0, 0)
    box: Region | None = None

    def run(self) -> Change:
        """The change that the tool makes; `UserError` says why it cannot."""
        return _DO[self.edit.tool](self)


def errand(
    case: Case,
    edit: Edit,
    value: int,
    axis: int,
    here: Region,
    at: Voxel = (0, 0, 0),
    box: Region | None = None,
) -> Errand:
    """Take from a case what a tool needs.

    Parameters
    ----------
    value : int
        The structure in hand.
    axis : int
        Of the source, along which one leafs.
    here : Region
        The slice that is looked at.
    at : (plane, row, column)
        The voxel that was pressed last.
    box : Region, optional
        The box that was drawn.
    """
    values, table = case.annotation.values, case.table
    whole = edit.whole or edit.tool in ACROSS
    goes_to = edit.into or value
    piece = Workpiece(
        values,
        goes_to if edit.tool == "combine" else value,
        tuple_of(case),
        None if whole else here,
        edit.over,
        name_of(table, goes_to if edit.tool == "combine" else value),
    )
    turn = case.display.turn
    forward = not turn.flips[turn.axes.index(axis)]
    operands = _operands(case, edit, value)
    member = _member(case, edit)
    first = here.ranges[axis][0]
    return Errand(edit, piece, axis, first, forward, operands, member, at, box)


def others(case: Case, value: int) -> list[tuple[str, str]]:
    """What the structure in hand can be combined with: (key, text)."""
    names = {label.value: label.name for label in case.table.each()}
    found = [
        (f"{HERE} {other}", name) for other, name in names.items() if other != value
    ]
    if case.annotation.proposed is not None or case.proposal is not None:
        found += [(f"{PROPOSED} {v}", f"{name}, proposed") for v, name in names.items()]
    return found


def tuple_of(case: Case) -> tuple[float, float, float]:
    """Spacing of (plane, row, column) in mm; ones without millimetres."""
    grid = case.volume.grid
    return grid.spacing_zyx if grid.has_spacing else (1.0, 1.0, 1.0)


def name_of(table: LabelTable, value: int) -> str:
    """What a structure is called."""
    names = {label.value: label.name for label in table.each()}
    return names.get(value, f"class {value}")


def _operands(case: Case, edit: Edit, value: int) -> tuple[Operand, Operand] | None:
    source, _, number = edit.other.partition(" ")
    if edit.tool != "combine" or not number:
        return None
    other = int(number)
    values: NDArray[np.uint8] | None = case.annotation.values
    if source == PROPOSED:
        values = case.annotation.proposed
        if values is None and case.proposal is not None:
            values = case.proposal.mask
    if values is None:
        return None
    first = Operand(case.annotation.values, value, name_of(case.table, value))
    return first, Operand(values, other, name_of(case.table, other))


def _member(case: Case, edit: Edit) -> NDArray[np.uint8] | None:
    members = case.proposal.members if case.proposal is not None else None
    number = round(edit.size) - 1
    if edit.tool != "member" or members is None or not 0 <= number < len(members):
        return None
    found: NDArray[np.uint8] = members[number]
    return without_absent(case, found)


def _take(job: Errand) -> Change:
    if job.member is None:
        raise UserError("there is no such member; propose with several")
    if job.edit.how == "box":
        if job.box is None:
            raise UserError("draw a box first: Propose, scope Region")
        return take_box(job.piece.values, job.member, job.box)
    return take_region(job.piece.values, job.member, job.at, job.piece.region)


def _islands(job: Errand) -> Change:
    if job.edit.how == "largest":
        return keep_largest(job.piece)
    return remove_islands(job.piece, job.edit.size)


def _holes(job: Errand) -> Change:
    each = job.edit.how == "slices" and job.edit.whole
    return fill_holes(job.piece, axis=job.axis if each else None)


def _smooth(job: Errand) -> Change:
    return smooth(
        job.piece,
        job.edit.size,
        method=cast("Method", job.edit.how),
        keep_volume=job.edit.keep_volume,
    )


def _combine(job: Errand) -> Change:
    if job.operands is None:
        return Change((_NONE, _NONE, _NONE), _NO_LABEL, _NO_LABEL)
    return combine(job.piece, *job.operands, cast("Operation", job.edit.how))


def _copy(job: Errand) -> Change:
    count = max(1, round(job.edit.size))
    if (job.edit.how == "next") != job.forward:
        count = -count
    return copy_slice(job.piece, axis=job.axis, source=job.here, count=count)


_NONE, _NO_LABEL = np.zeros(0, np.int32), np.zeros(0, np.uint8)
_DO: dict[EditTool, Callable[[Errand], Change]] = {
    "interpolate": lambda job: interpolate(job.piece, axis=job.axis),
    "islands": _islands,
    "holes": _holes,
    "smooth": _smooth,
    "margin": lambda job: margin(job.piece, job.edit.size),
    "combine": _combine,
    "copy": _copy,
    "member": _take,
}
