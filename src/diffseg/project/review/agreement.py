"""How far two readings of a case agree, by structure, by case and pooled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.errors import UserError
from diffseg.metrics import Confusion, confusion, hd95_mm
from diffseg.progress import Progress, Work
from diffseg.project.store import (
    Case,
    Project,
    Role,
    State,
    case_of,
    label_table,
    newest_correction,
    proposals_of,
    read_correction,
    read_proposed,
    review_of,
    standings,
)

Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two masks of one structure.

    Parameters
    ----------
    dice : float in [0, 1]
        1 where both lack it, 0 where one does.
    hd95_mm : float or None
        95 % Hausdorff distance; None where it is not defined: without a spacing, or
        where a mask lacks the structure.
    first, second : int
        Voxels.
    """

    dice: float
    hd95_mm: float | None
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class CaseAgreement:
    """Two readings of a case, by structure; `differing` voxels have two classes."""

    case_id: str
    name: str
    first: str
    second: str
    structures: dict[str, Agreement]
    differing: int


@dataclass(frozen=True, slots=True)
class Pooled:
    """A structure over all cases that were read twice.

    Parameters
    ----------
    cases : int
    dice : float
        Of the voxels of all cases together.
    dice_mean : float
        Mean over cases.
    hd95_mm_mean, hd95_mm_max : float or None
        Over cases where it is defined.
    hd95_cases : int
        How many those are.
    """

    cases: int
    dice: float
    dice_mean: float
    hd95_mm_mean: float | None
    hd95_mm_max: float | None
    hd95_cases: int


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Every case that was read twice, and each structure over all of them."""

    cases: tuple[CaseAgreement, ...]
    pooled: dict[str, Pooled]


def agreement(
    project: Project, case_ids: Iterable[str] | None = None
) -> Work[AgreementReport]:
    """Compare both readings of every case of which the second is done.

    Parameters
    ----------
    case_ids : iterable of str, optional
        Of these alone, each read twice.

    Yields
    ------
    Progress
        One a case.

    Raises
    ------
    UserError
        A case was not read twice, or a mask was changed outside of the project.
    """
    table = _table(project)
    wanted = twice_read(project) if case_ids is None else tuple(case_ids)
    cases: list[CaseAgreement] = []
    counts: dict[str, Confusion] = {}
    for done, case_id in enumerate(wanted):
        case = case_of(project, case_id)
        yield Progress("compare readings", done, len(wanted), case.name)
        first, second = readings(project, case)
        for label in table.each():
            one = confusion(first, second, label.value)
            counts[label.name] = counts.get(label.name, Confusion(0, 0, 0)) + one
        cases.append(_compared(project, case, table, first, second))
    pooled = {
        name: _pooled(count, [case.structures[name] for case in cases])
        for name, count in counts.items()
    }
    return AgreementReport(tuple(cases), pooled)


def twice_read(project: Project) -> tuple[str, ...]:
    """Ids of cases of which both readings are done, by name."""
    return tuple(
        one.case_id
        for one in standings(project).cases
        if one.state is State.DONE and one.second_state is State.DONE
    )


def readings(project: Project, case: Case) -> tuple[Mask, Mask]:
    """Read the masks of both readings, (Z, Y, X) in the label table's values.

    Whoever was done without a correction accepted the newest proposal.

    Raises
    ------
    UserError
        A reading is not done, or has neither a correction nor a proposal.
    """
    masks = []
    for role in Role:
        if review_of(project, case.id, role).state is not State.DONE:
            raise UserError(
                f"case {case.name!r}: the {role.value} reading is not done; say so "
                "with: diffseg project review DIR CASE --state done"
                f"{' --second' if role is Role.SECOND else ''}"
            )
    for role in Role:
        mask = _mask(project, case, role)
        if mask is None:
            raise UserError(
                f"case {case.name!r} has no mask of the {role.value} reading; save "
                "one, or have one proposed"
            )
        masks.append(mask)
    return masks[0], masks[1]


def _mask(project: Project, case: Case, role: Role) -> Mask | None:
    newest = newest_correction(project, case.id, role)
    if newest is not None:
        return read_correction(project, newest)
    made = proposals_of(project, case.id)
    return read_proposed(project, made[-1]) if made else None


def _compared(
    project: Project, case: Case, table: LabelTable, first: Mask, second: Mask
) -> CaseAgreement:
    spacing = case.grid.spacing_zyx if case.grid.has_spacing else None
    structures = {}
    for label in table.each():
        count = confusion(first, second, label.value)
        structures[label.name] = Agreement(
            count.dice,
            hd95_mm(first, second, spacing, label.value),
            count.true_positive + count.false_positive,
            count.true_positive + count.false_negative,
        )
    return CaseAgreement(
        case_id=case.id,
        name=case.name,
        first=review_of(project, case.id, Role.FIRST).reviewer,
        second=review_of(project, case.id, Role.SECOND).reviewer,
        structures=structures,
        differing=int(np.count_nonzero(first != second)),
    )


def _pooled(count: Confusion, cases: Sequence[Agreement]) -> Pooled:
    far = [one.hd95_mm for one in cases if one.hd95_mm is not None]
    return Pooled(
        cases=len(cases),
        dice=count.dice,
        dice_mean=fmean(one.dice for one in cases),
        hd95_mm_mean=fmean(far) if far else None,
        hd95_mm_max=max(far, default=None),
        hd95_cases=len(far),
    )


def _table(project: Project) -> LabelTable:
    table = label_table(project)
    if table is None:
        raise UserError("the project has no labels yet; there is nothing to compare")
    return table
