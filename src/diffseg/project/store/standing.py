"""Where every case stands: its review, who holds it, its newest proposal in numbers.

One question to the database for the whole project, so that a queue of thousands of
cases is made at once.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, Subquery, func, select

from diffseg.ensemble.routing import Candidate
from diffseg.progress import Progress, Work
from diffseg.project.store import schema
from diffseg.project.store.nouns import Role, State, StoredProposal
from diffseg.project.store.project import Project
from diffseg.project.store.proposals import proposal_of, read_maps, read_proposed
from diffseg.project.store.summaries import (
    Summary,
    insert_summary,
    read_slices,
    summary_of,
    unpacked,
)

_NOWHERE = (0.5, 0.5, 0.5)
_STATES = {one.value: one for one in State}
_UNREAD = (State.NOT_STARTED.value, "", 0.0)


@dataclass(frozen=True, slots=True)
class Standing:
    """A case as a queue sees it.

    Parameters
    ----------
    state, second_state : State
        Of the first and of the second reading.
    reviewer, second_reader : str
        "" where there is none.
    reviewed : float
        When the first review was set, in seconds since the epoch; 0 before.
    holder : str
        Who has the case's lease; "" for nobody.
    proposal : str or None
        Id of the newest one.
    candidate : Candidate or None
        It in numbers, one of each structure of `Standings.names`; None without a
        proposal, or while it is not summed up.
    """

    case_id: str
    name: str
    state: State
    reviewer: str
    reviewed: float
    second_state: State
    second_reader: str
    holder: str
    proposal: str | None
    candidate: Candidate | None


@dataclass(frozen=True, slots=True)
class Standings:
    """Every case of a project, by name.

    Parameters
    ----------
    names : tuple of str
        Structures of all proposals.
    cases : tuple of Standing
    """

    names: tuple[str, ...]
    cases: tuple[Standing, ...]


def standings(project: Project) -> Standings:
    """Look every case up; proposals that `summarise` has not seen are left out."""
    with _without_collection():
        with project.read() as db:
            now = project.now(db)
            rows = list(_looked_up(db))
        names, found = _candidates(rows)
        pairs = zip(rows, found, strict=True)
        return Standings(names, tuple(_standing(row, one, now) for row, one in pairs))


def summarise(project: Project) -> Work[int]:
    """Sum up those newest proposals of cases that are not summed up yet.

    What members said beyond the maps is not kept: their mutual information stays
    unknown.

    Yields
    ------
    Progress
        One a proposal.

    Returns
    -------
    int
        How many there were.
    """
    newest = _newest()
    known = schema.summaries.c
    rows = (
        select(newest.c.id)
        .outerjoin(schema.summaries, known.proposal == newest.c.id)
        .where(newest.c.number == 1, known.proposal.is_(None))
        .order_by(newest.c.id)
    )
    with project.read() as db:
        missing = db.execute(rows).scalars().all()
    for done, id in enumerate(missing):
        yield Progress("sum proposals up", done, len(missing))
        made = _summed_up(project, proposal_of(project, id))
        with project.write() as db:
            if not _is_known(db, id):  # somebody else may have been faster
                insert_summary(db, id, made)
    return len(missing)


def slices_of(
    project: Project, proposal: StoredProposal
) -> tuple[tuple[Candidate, ...], tuple[float, ...]]:
    """Planes in which a proposal claims a structure, and wrong voxels of each.

    A proposal that was stored before slices were summed up is summed up anew.

    Raises
    ------
    UserError
        A file is missing, or was changed outside of the project.
    """
    table, id = schema.proposals.c, proposal.id
    with project.read() as db:
        files = db.execute(select(table.files).where(table.id == id)).scalar_one()
    if "slices" in files:
        digest = files["slices"]["sha256"]
        return read_slices(proposal.files["slices"], digest, proposal.case_id)
    made = _summed_up(project, proposal)
    return made.slices, made.wrong


def _summed_up(project: Project, proposal: StoredProposal) -> Summary:
    probability, uncertainty = read_maps(project, proposal)
    mask = read_proposed(project, proposal)
    case_id, labels = proposal.case_id, proposal.labels
    return summary_of(case_id, labels, probability, mask, uncertainty)


def _is_known(db: Connection, id: str) -> bool:
    known = schema.summaries.c.proposal
    return db.execute(select(known).where(known == id)).first() is not None


def _newest() -> Subquery:
    """Proposals with their number within their case, the newest first."""
    made = schema.proposals.c
    order = (made.at.desc(), made.id.desc())
    number = func.row_number().over(partition_by=made.case_id, order_by=order)
    return select(made.id, made.case_id, number.label("number")).subquery()


def _looked_up(db: Connection) -> Iterator[tuple[Any, ...]]:
    """Yield each case by name, with its reviews, its lease and its newest proposal.

    Plain questions, put together here: a join with the newest proposal of each case
    is no faster, and harder to follow. Each is fetched at once: row by row, the
    fetching takes longer than the question.
    """
    cases, leases, known = schema.cases.c, schema.leases.c, schema.summaries.c
    said, made = schema.reviews.c, schema.proposals.c
    reviews = {
        (case_id, role): (state, who, at)
        for case_id, role, state, who, at in db.execute(
            select(said.case_id, said.role, said.state, said.reviewer, said.at)
        ).all()
    }
    holders = {
        case_id: (who, until)
        for case_id, who, until in db.execute(
            select(leases.case_id, leases.annotator, leases.until)
        ).all()
    }
    # Of several the newest comes last, and stays.
    order = select(made.case_id, made.id).order_by(made.at, made.id)
    newest: dict[str, str] = {row[0]: row[1] for row in db.execute(order).all()}
    numbers = {
        id: (labels, told)
        for id, labels, told in db.execute(
            select(known.proposal, known.labels, known.numbers)
        ).all()
    }
    first, second = Role.FIRST.value, Role.SECOND.value
    every = select(cases.id, cases.name).order_by(cases.name)
    for id, name in db.execute(every).all():
        proposal = newest.get(id)
        yield (
            id,
            name,
            reviews.get((id, first), _UNREAD),
            reviews.get((id, second), _UNREAD),
            holders.get(id, ("", 0.0)),
            proposal,
            *numbers.get(proposal, (None, None)),
        )


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let many small nouns be made without a search for cycles, of which none are.

    Thousands of cases would set off several, which take longer than the work itself.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _standing(row: Any, candidate: Candidate | None, now: float) -> Standing:
    id, name, first, second, held, proposal = row[:6]
    return Standing(
        id,
        name,
        _STATES[first[0]],
        first[1],
        first[2],
        _STATES[second[0]],
        second[1],
        held[0] if now < held[1] else "",
        proposal,
        candidate,
    )


def _candidates(
    rows: Sequence[Any],
) -> tuple[tuple[str, ...], list[Candidate | None]]:
    """Names of all structures, and each row's candidate with a number of each."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row[7] is not None:
            groups.setdefault(row[6], []).append(index)
    told: dict[str, list[str]] = {labels: json.loads(labels) for labels in groups}
    names = tuple(dict.fromkeys(name for one in told.values() for name in one))
    found: list[Candidate | None] = [None] * len(rows)
    for labels, indices in groups.items():
        joined = b"".join(rows[index][7] for index in indices)
        numbers = np.frombuffer(joined, "<f8").reshape(len(indices), -1)
        some = unpacked([rows[index][0] for index in indices], numbers)
        if tuple(told[labels]) != names:
            some = tuple(_widened(one, told[labels], names) for one in some)
        for index, one in zip(indices, some, strict=True):
            found[index] = one
    return names, found


def _widened(one: Candidate, own: Sequence[str], names: Sequence[str]) -> Candidate:
    """A candidate with a number of each structure; nothing is claimed of others."""
    at = {name: index for index, name in enumerate(own)}
    order = [at.get(name) for name in names]
    return replace(
        one,
        volumes=tuple(0.0 if i is None else one.volumes[i] for i in order),
        centroids=tuple(_NOWHERE if i is None else one.centroids[i] for i in order),
        doubts=tuple(0.0 if i is None else one.doubts[i] for i in order),
        expected_dice=tuple(1.0 if i is None else one.expected_dice[i] for i in order),
    )
