"""A case of a project is opened: leased, its image checked, its newest work read."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal, StructureReport
from diffseg.errors import UserError
from diffseg.project import review, store
from diffseg.project.entries import Loaded, Origin, Said, Taken
from diffseg.volume import Volume


def load_case(
    project: store.Project,
    case_id: str,
    *,
    annotator: str,
    session: str,
    read_only: bool = False,
) -> Loaded | Taken:
    """Open a case of a project as it was left; takes its lease.

    Parameters
    ----------
    read_only : bool
        Look at it without the lease.

    Returns
    -------
    Loaded or Taken
        Who works on it, where somebody else does and it is not only looked at.

    Raises
    ------
    UserError
        The image is not the one that was added, or what was kept cannot be read.
    """
    locked = "this case is open to be looked at only"
    if not read_only:
        try:
            store.take_lease(project, case_id, annotator=annotator, session=session)
        except store.Leased as error:
            return Taken(error.lease.annotator, error.lease.until)
    try:
        case = store.case_of(project, case_id)
        loaded = _loaded(project, case, annotator, locked if read_only else "")
    except BaseException:
        if not read_only:
            store.release_lease(project, case_id, annotator=annotator)
        raise
    return loaded


def said_of(project: store.Project, case_id: str) -> dict[str, Said]:
    """What is known of each structure of a case that was named."""
    strips = store.strips_of(project, case_id)
    return {name: Said(strip.whole, strip.slices) for name, strip in strips.items()}


def errors_of(project: store.Project, case_id: str) -> NDArray[np.float32] | None:
    """(Z,) 1 - expected Dice of each plane of the newest proposal; None without."""
    strip = review.slice_strip(project, case_id)
    return None if strip is None else strip.error.astype(np.float32)


def read_proposal(
    project: store.Project, stored: store.StoredProposal, volume: Volume
) -> Proposal:
    """Read a stored proposal for the image that it was made for; without members.

    Raises
    ------
    UserError
        A file is missing, damaged, or was changed.
    """
    mask = store.read_proposed(project, stored)
    probability, uncertainty = store.read_maps(project, stored)
    told = _report_of(stored)
    names = {one.name for one in fields(StructureReport)}
    return Proposal(
        mask=mask,
        probability=probability,
        uncertainty=uncertainty,
        labels=stored.labels,
        grid=volume.grid,
        source=volume.source,
        provenance=store.provenance_of(stored),
        structures=tuple(
            StructureReport(**{name: one.get(name) for name in names})
            for one in told.get("structures", ())
        ),
        mutual_information_mean=told.get("mutual_information_mean"),
        warnings=tuple(told.get("warnings", ())),
    )


def _loaded(
    project: store.Project, case: store.Case, annotator: str, locked: str
) -> Loaded:
    volume = store.open_source(case)
    if not volume.grid.same_as(case.grid) and case.grid.has_spacing:
        raise UserError(f"case {case.name!r}: its image is on another grid than before")
    stored = next(reversed(store.proposals_of(project, case.id)), None)
    proposal = None if stored is None else read_proposal(project, stored, volume)
    role = review.role_of(project, case.id, annotator)
    newest = store.newest_correction(project, case.id, role)
    values = np.zeros(case.grid.shape, np.uint8)
    touched = None
    if newest is not None:
        values = np.array(store.read_correction(project, newest), np.uint8)
        touched = store.read_touched(project, newest)
    elif proposal is not None:
        values = np.array(proposal.mask, np.uint8)
    seen = [
        (axis, index)
        for axis in range(3)
        for index in store.seen_slices(project, case.id, annotator=annotator, axis=axis)
    ]
    state: Any = store.review_of(project, case.id, role).state.value
    return Loaded(
        origin=Origin(
            case.id,
            newest.id if newest is not None else None,
            stored.id if stored is not None else None,
        ),
        name=case.name,
        volume=volume,
        frame=case.frame,
        values=np.ascontiguousarray(values),
        touched=np.zeros(values.shape, np.bool_) if touched is None else touched,
        proposal=proposal,
        table=store.label_table(project),
        said=said_of(project, case.id),
        state=state,
        version=case.versions,
        seen=tuple(seen),
        locked=locked,
        errors=errors_of(project, case.id) if stored is not None else None,
    )


def _report_of(stored: store.StoredProposal) -> dict[str, Any]:
    path = stored.files["report"]
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())["report"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UserError(f"{path} cannot be read; see diffseg project check") from err
    return told
