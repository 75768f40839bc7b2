"""Cases go out with the newest of what is known of them, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.errors import UserError
from diffseg.project.exporting import ExportCase, Maker
from diffseg.project.store.cases import case_of, find_case, open_source
from diffseg.project.store.corrections import (
    corrections_of,
    newest_correction,
    read_correction,
    read_touched,
)
from diffseg.project.store.listing import list_cases
from diffseg.project.store.nouns import Case, Correction, State, StoredProposal
from diffseg.project.store.project import Project
from diffseg.project.store.proposals import (
    measured,
    proposals_of,
    provenance_of,
    read_maps,
    read_proposed,
)
from diffseg.project.store.reviewing import review_of, seen_slices
from diffseg.project.store.tables import label_table


def has_mask(project: Project, case: Case) -> bool:
    """Whether there is a mask to export: a correction, or a proposal accepted."""
    if newest_correction(project, case.id) is not None:
        return True
    return bool(_accepted(project, case))


def with_masks(
    project: Project, names: Iterable[str] = ()
) -> tuple[list[Case], list[str]]:
    """Cases that have a mask, and names of those that do not.

    Parameters
    ----------
    names : iterable of str
        Names or ids of cases; all of the project without any.

    Raises
    ------
    UserError
        There is no such case, or none of them has a mask.
    """
    chosen = [find_case(project, name) for name in names]
    if not chosen:
        lines = list_cases(project, limit=None).lines
        chosen = [case_of(project, line.id) for line in lines]
    cases = [one for one in chosen if has_mask(project, one)]
    if not cases:
        raise UserError("no case has a mask; correct or accept one first")
    ready = {one.id for one in cases}
    return cases, [one.name for one in chosen if one.id not in ready]


def export_cases(project: Project, cases: Iterable[Case]) -> Iterator[ExportCase]:
    """Yield cases as the formats of `diffseg.project.exporting` take them.

    The mask is the newest correction of the first reading, or the newest proposal of
    a case whose review is done. Maps, and what the ensemble measured of each
    structure, are those of the proposal that went into it, where its labels are the
    project's. What nobody looked at, is told as not reviewed.

    Parameters
    ----------
    cases : iterable of Case
        Each with a mask; see `has_mask`.

    Raises
    ------
    UserError
        A case has no mask, its image has changed since, or a file was changed
        outside of the project.
    """
    table = label_table(project)
    for case in cases:
        yield _export_case(project, case, table)


def _export_case(project: Project, case: Case, table: LabelTable | None) -> ExportCase:
    versions = {one.id: one for one in corrections_of(project, case.id)}
    newest = newest_correction(project, case.id)
    proposal = _proposal(project, case, newest, versions)
    if newest is not None:
        mask = read_correction(project, newest)
        maker = Maker.PERSON if proposal is None else Maker.CORRECTED
    elif proposal is not None:
        mask, maker = read_proposed(project, proposal), Maker.MODEL
        table = table or proposal.labels
    else:
        raise UserError(f"case {case.name!r} has no mask; correct or accept one first")
    if table is None:
        raise UserError("the project has no labels yet; there is nothing to export")
    volume = open_source(case)
    fits = proposal is not None and _alike(proposal.labels, table)
    maps = read_maps(project, proposal) if proposal and fits else (None, None)
    return ExportCase(
        name=case.name,
        mask=mask,
        labels=table,
        grid=volume.grid,
        source=volume.source,
        image=volume,
        probability=maps[0],
        uncertainty=maps[1],
        proposed=read_proposed(project, proposal) if proposal and fits else None,
        structures=measured(proposal) if proposal and fits else (),
        reviewed=reviewed_voxels(project, case, newest),
        provenance=provenance_of(proposal) if proposal else None,
        maker=maker,
        frame=case.frame or 0,
    )


def reviewed_voxels(
    project: Project, case: Case, correction: Correction | None
) -> NDArray[np.bool_] | None:
    """(Z, Y, X) voxels that a person set or looked at; None once the review is done.

    Slices that were ticked off count whole.
    """
    if review_of(project, case.id).state is State.DONE:
        return None
    touched = read_touched(project, correction) if correction else None
    reviewed = np.zeros(case.grid.shape, np.bool_) if touched is None else touched
    for axis in range(3):
        ticked = list(seen_slices(project, case.id, axis=axis))
        if ticked:
            reviewed[(slice(None),) * axis + (ticked,)] = True
    return reviewed


def _accepted(project: Project, case: Case) -> tuple[StoredProposal, ...]:
    if review_of(project, case.id).state is not State.DONE:
        return ()
    return proposals_of(project, case.id)


def _proposal(
    project: Project,
    case: Case,
    newest: Correction | None,
    versions: dict[str, Correction],
) -> StoredProposal | None:
    """The latest proposal that went into a version, or that was accepted."""
    known = {one.id: one for one in proposals_of(project, case.id)}
    version = newest
    while version is not None:
        if version.proposal is not None:
            return known.get(version.proposal)
        version = versions.get(version.parent or "")
    if newest is None and _accepted(project, case):
        return next(reversed(known.values()), None)
    return None


def _alike(labels: LabelTable, table: LabelTable) -> bool:
    """Whether classes have the same names and values, in the same order."""
    return labels.names == table.names and labels.values == table.values
