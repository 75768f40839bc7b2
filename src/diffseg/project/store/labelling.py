"""Image-level labels: said of a case or of a range of its slices, with undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from diffseg.domain import ImageLabels, Presence
from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.cases import locked
from diffseg.project.store.nouns import Row, Statement, moment
from diffseg.project.store.project import Project
from diffseg.project.store.strips import Strip, strip_of
from diffseg.project.store.tables import require_label

_SAID = schema.image_labels


def set_label(
    project: Project,
    case_id: str,
    label: str,
    state: Presence,
    *,
    annotator: str,
    slices: tuple[int, int] | None = None,
    new: bool = False,
) -> Statement:
    """Say that a structure is present in a case, absent, or that it is not known.

    Parameters
    ----------
    slices : (first, stop), optional
        Half-open, planes of the image; the whole case without it.
    new : bool
        Take a label into the project's table that is not there yet. A project that
        was made without a table takes every label.

    Raises
    ------
    UserError
        There is no such case or label, or no such slices.
    """
    return set_labels(
        project, case_id, {label: state}, annotator=annotator, slices=slices, new=new
    )[0]


def set_labels(
    project: Project,
    case_id: str,
    states: Mapping[str, Presence],
    *,
    annotator: str,
    slices: tuple[int, int] | None = None,
    new: bool = False,
) -> tuple[Statement, ...]:
    """Say several things of one case: all of them are kept, or none.

    See `set_label`; each is undone by itself.
    """
    with project.write() as db:
        case = locked(db, case_id)
        first, stop = _checked(slices, int(case["grid"]["shape"][0]))
        now, made = project.now(db), []
        for label, state in states.items():
            require_label(db, label, new)
            row = {
                "case_id": case_id,
                "label": label,
                "first": first,
                "stop": stop,
                "state": state.value,
                "annotator": annotator,
                "at": now,
                "undone": False,
            }
            kept = insert(_SAID).values(row).returning(_SAID.c.id)
            row["id"] = db.execute(kept).scalar_one()
            made.append(_statement(row))
            _noted(db, now, annotator, "label", row)
        _changed(db, case_id, now)
    return tuple(made)


def undo_label(project: Project, case_id: str, *, annotator: str) -> Statement | None:
    """Take back the latest thing that an annotator said of a case; None without one."""
    live = _newest(case_id, annotator, undone=False)
    return _turn(project, case_id, annotator, live, "unlabel", True)


def redo_label(project: Project, case_id: str, *, annotator: str) -> Statement | None:
    """Say again what was taken back last, unless something was said since."""
    live = select(func.coalesce(func.max(_SAID.c.id), 0)).where(
        _SAID.c.case_id == case_id, _SAID.c.annotator == annotator, ~_SAID.c.undone
    )
    taken_back = (
        select(_SAID)
        .where(
            _SAID.c.case_id == case_id,
            _SAID.c.annotator == annotator,
            _SAID.c.undone,
            _SAID.c.id > live.scalar_subquery(),
        )
        .order_by(_SAID.c.id)
        .limit(1)
    )
    return _turn(project, case_id, annotator, taken_back, "relabel", False)


def statements_of(project: Project, case_id: str) -> tuple[Statement, ...]:
    """What was said of a case and stands, in order."""
    rows = (
        select(_SAID)
        .where(_SAID.c.case_id == case_id, ~_SAID.c.undone)
        .order_by(_SAID.c.id)
    )
    with project.read() as db:
        return tuple(_statement(row) for row in db.execute(rows).mappings())


def strips_of(project: Project, case_id: str) -> dict[str, Strip]:
    """For each structure that was named: what is known of the case and its slices."""
    said = statements_of(project, case_id)
    with project.read() as db:
        grid = db.execute(
            select(schema.cases.c.grid).where(schema.cases.c.id == case_id)
        ).scalar_one_or_none()
    if grid is None:
        raise UserError(f"the project has no case of id {case_id}")
    names = dict.fromkeys(statement.label for statement in said)
    return {
        name: strip_of([one for one in said if one.label == name], grid["shape"][0])
        for name in names
    }


def image_labels_of(project: Project, case_id: str) -> ImageLabels:
    """What is known of a whole case, as a `Request` takes it."""
    strips = strips_of(project, case_id)
    return ImageLabels({name: strip.whole for name, strip in strips.items()})


def _newest(case_id: str, annotator: str, *, undone: bool) -> Any:
    return (
        select(_SAID)
        .where(
            _SAID.c.case_id == case_id,
            _SAID.c.annotator == annotator,
            _SAID.c.undone == undone,
        )
        .order_by(_SAID.c.id.desc())
        .limit(1)
    )


def _turn(
    project: Project,
    case_id: str,
    annotator: str,
    which: Any,
    action: str,
    undone: bool,
) -> Statement | None:
    with project.write() as db:
        locked(db, case_id)
        row = db.execute(which).mappings().one_or_none()
        if row is None:
            return None
        db.execute(update(_SAID).where(_SAID.c.id == row["id"]).values(undone=undone))
        now = project.now(db)
        _noted(db, now, annotator, action, row)
        _changed(db, case_id, now)
    return _statement(row)


def _noted(db: Connection, now: float, annotator: str, action: str, row: Row) -> None:
    slices = None if row["first"] is None else [row["first"], row["stop"]]
    details = {"label": row["label"], "state": row["state"], "slices": slices}
    note(db, now, annotator, action, case_id=row["case_id"], details=details)


def _changed(db: Connection, case_id: str, now: float) -> None:
    db.execute(
        update(schema.cases).where(schema.cases.c.id == case_id).values(changed=now)
    )


def _checked(
    slices: Sequence[int] | None, planes: int
) -> tuple[int, int] | tuple[None, None]:
    if slices is None:
        return None, None
    first, stop = slices
    if not 0 <= first < stop <= planes:
        raise UserError(
            f"slices {first}:{stop} are not within the image's 0:{planes}; give a:b "
            "with a < b",
            option="--slices",
        )
    return first, stop


def _statement(row: Row) -> Statement:
    return Statement(
        id=row["id"],
        label=row["label"],
        state=Presence(row["state"]),
        slices=None if row["first"] is None else (row["first"], row["stop"]),
        annotator=row["annotator"],
        at=moment(row["at"]),
    )
