"""Reviews: how far a case is, who says so, and which slices have been looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, insert, select, update

from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.cases import locked
from diffseg.project.store.nouns import Review, Role, Row, State, moment
from diffseg.project.store.project import Project

_TABLE = schema.reviews
_SEEN = schema.seen


def set_review(
    project: Project,
    case_id: str,
    state: State,
    *,
    reviewer: str,
    role: Role = Role.FIRST,
    comment: str | None = None,
) -> Review:
    """Say how far the review of a case is.

    Parameters
    ----------
    role : Role
        The second reader's review is another one, with a comment of its own.
    comment : str, optional
        As before without it. It may name a patient, and stays out of the log.

    Raises
    ------
    UserError
        There is no such case.
    """
    here = [_TABLE.c.case_id == case_id, _TABLE.c.role == role.value]
    with project.write() as db:
        locked(db, case_id)
        before = db.execute(select(_TABLE).where(*here)).mappings().one_or_none()
        now = project.now(db)
        drawn = schema.corrections.c
        newest = (
            select(drawn.id)
            .where(drawn.case_id == case_id, drawn.role == role.value)
            .order_by(drawn.version.desc())
            .limit(1)
        )
        row: dict[str, Any] = {
            "case_id": case_id,
            "role": role.value,
            "state": state.value,
            "comment": (before["comment"] if before else "")
            if comment is None
            else comment,
            "reviewer": reviewer,
            "correction": db.execute(newest).scalar_one_or_none(),
            "at": now,
        }
        if before is None:
            db.execute(insert(_TABLE), row)
        else:
            db.execute(update(_TABLE).where(*here).values(row))
        db.execute(
            update(schema.cases).where(schema.cases.c.id == case_id).values(changed=now)
        )
        details = {
            "state": state.value,
            "role": role.value,
            "commented": comment is not None,
        }
        subject = row["correction"]
        note(
            db, now, reviewer, "review",
            case_id=case_id, subject=subject, details=details,
        )  # fmt: skip
    return _review(row)


def review_of(project: Project, case_id: str, role: Role = Role.FIRST) -> Review:
    """How far the review of a case is; not started where nobody said a word."""
    rows = select(_TABLE).where(
        _TABLE.c.case_id == case_id, _TABLE.c.role == role.value
    )
    with project.read() as db:
        found = db.execute(rows).mappings().one_or_none()
    return Review(case_id, role, State.NOT_STARTED) if found is None else _review(found)


def tick_slices(
    project: Project,
    case_id: str,
    slices: Iterable[int],
    *,
    annotator: str,
    axis: int = 0,
    seen: bool = True,
) -> None:
    """Note that an annotator has looked at some slices, or that they have not.

    Parameters
    ----------
    slices : iterable of int
        Indices along `axis` of the source's grid.
    axis : int
        0 plane, 1 row, 2 column.

    Raises
    ------
    UserError
        There is no such case, or a slice is outside of its image.
    """
    wanted = sorted(set(slices))
    with project.write() as db:
        extent = int(locked(db, case_id)["grid"]["shape"][axis])
        if wanted and not 0 <= wanted[0] <= wanted[-1] < extent:
            raise UserError(f"slices {wanted[0]} to {wanted[-1]} of 0 to {extent - 1}")
        here = [
            _SEEN.c.case_id == case_id,
            _SEEN.c.axis == axis,
            _SEEN.c.annotator == annotator,
        ]
        ticked = set(db.execute(select(_SEEN.c.slice).where(*here)).scalars())
        now = project.now(db)
        fresh = [
            {
                "case_id": case_id,
                "axis": axis,
                "slice": index,
                "annotator": annotator,
                "at": now,
            }
            for index in wanted
            if index not in ticked
        ]
        if seen and fresh:
            db.execute(insert(_SEEN), fresh)
        elif not seen:
            db.execute(delete(_SEEN).where(*here, _SEEN.c.slice.in_(wanted)))


def seen_slices(
    project: Project, case_id: str, *, annotator: str | None = None, axis: int = 0
) -> tuple[int, ...]:
    """Slices that an annotator, or anybody, has looked at; rising."""
    rows = select(_SEEN.c.slice).where(_SEEN.c.case_id == case_id, _SEEN.c.axis == axis)
    if annotator is not None:
        rows = rows.where(_SEEN.c.annotator == annotator)
    with project.read() as db:
        found = db.execute(rows.distinct().order_by(_SEEN.c.slice)).scalars()
        return tuple(found)


def _review(row: Row) -> Review:
    return Review(
        case_id=row["case_id"],
        role=Role(row["role"]),
        state=State(row["state"]),
        comment=row["comment"],
        reviewer=row["reviewer"],
        correction=row["correction"],
        at=moment(row["at"]),
    )
