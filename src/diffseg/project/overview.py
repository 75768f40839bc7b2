"""A project's cases at a glance: all of them at once, for a list to sort and sift."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from diffseg.domain import Presence
from diffseg.progress import run
from diffseg.project.entries import STATES, CaseState, Row
from diffseg.project.review.queue import error_of
from diffseg.project.store import (
    Project,
    Role,
    schema,
    standings,
    summarise,
)


def rows_of(project: Project) -> tuple[Row, ...]:
    """Every case, by name, with what was said of it and who works on it.

    Plain questions, put together here: no slower for thousands of cases than one
    that joins, and nothing is made of a row but what a list shows.
    """
    cases, reviews, leases = schema.cases.c, schema.reviews.c, schema.leases.c
    said = _said(project)
    with project.read() as db:
        now = project.now(db)
        first = reviews.role == Role.FIRST.value
        read = select(reviews.case_id, reviews.state, reviews.reviewer).where(first)
        states = {id: (state, who) for id, state, who in db.execute(read)}
        held = select(leases.case_id, leases.annotator).where(leases.until > now)
        holders = {id: who for id, who in db.execute(held).all()}  # noqa: C416
        plain = select(cases.id, cases.name, cases.versions, cases.changed)
        found = db.execute(plain.order_by(cases.name)).all()
    rows = []
    for id, name, versions, changed in found:
        state, reviewer = states.get(id, (STATES[0], ""))
        holder = holders.get(id, "")
        rows.append(
            Row(
                id,
                name,
                state,
                said.get(id, ()),
                versions,
                holder or reviewer,
                bool(holder),
                changed,
            )
        )
    return tuple(rows)


def proposals_in(project: Project) -> int:
    """How many proposals there are; they are never changed or removed."""
    with project.read() as db:
        counted = select(func.count()).select_from(schema.proposals)
        return int(db.execute(counted).scalar_one())


def expected_dice(project: Project) -> dict[str, float]:
    """Mean over structures of each case's expected Dice, by its newest proposal."""
    run(summarise(project))
    return {
        one.case_id: 1 - error_of(one.candidate)
        for one in standings(project).cases
        if one.candidate is not None
    }


def _said(project: Project) -> dict[str, tuple[tuple[str, Presence], ...]]:
    """What stands of every case; a slice with a structure is a case with it."""
    said = schema.image_labels.c
    rows = (
        select(said.case_id, said.label, said.first, said.state)
        .where(~said.undone)
        .order_by(said.id)
    )
    with project.read() as db:
        found = db.execute(rows).all()
    cases: dict[str, dict[str, Presence]] = {}
    for case, label, first, state in found:
        known = cases.setdefault(case, {})
        if first is None or state == Presence.PRESENT.value:
            known[label] = Presence(state)
        else:
            known.setdefault(label, Presence.UNKNOWN)
    return {case: tuple(known.items()) for case, known in cases.items()}


def counts_of(rows: Sequence[Row]) -> dict[CaseState, int]:
    """How many cases are in each state."""
    counts: dict[CaseState, int] = dict.fromkeys(STATES, 0)
    for row in rows:
        counts[row.state] += 1
    return counts
