"""A project's list of cases: a page at a time, sorted and sifted by the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, exists, func, literal, select

from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.nouns import Line, Page, Role, State, moment
from diffseg.project.store.project import Project

Order = Literal["name", "added", "changed", "versions", "state", "modality"]
ORDERS: tuple[Order, ...] = (
    "name", "added", "changed", "versions", "state", "modality",
)  # fmt: skip
_CASES = schema.cases
_FIRST = schema.reviews.alias("first_review")
_SECOND = schema.reviews.alias("second_review")
_STATE = func.coalesce(_FIRST.c.state, literal(State.NOT_STARTED.value))


def list_cases(
    project: Project,
    *,
    order: Order = "name",
    descending: bool = False,
    offset: int = 0,
    limit: int | None = 100,
    state: State | None = None,
    label: str | None = None,
    search: str | None = None,
) -> Page:
    """List cases.

    Parameters
    ----------
    order : str
        One of `ORDERS`; equal ones by name.
    offset, limit : int
        Lines to leave out, and to return at most; all of them with None.
    state : State, optional
        Only cases whose first review is there.
    label : str, optional
        Only cases of which something was said about this label.
    search : str, optional
        Only cases whose name holds this, whatever the case of its letters.

    Raises
    ------
    UserError
        There is no such order.
    """
    if order not in ORDERS:
        raise UserError(f"sort by one of {', '.join(ORDERS)}, not by {order!r}")
    sifted = _sifted(state, label, search)
    key = _STATE if order == "state" else _CASES.c[order]
    keys = [key.desc() if descending else key]
    if order != "name":
        keys.append(_CASES.c.name)
    count = select(func.count()).select_from(_CASES)
    if state is not None:
        count = select(func.count()).select_from(_with_first())
    with project.read() as db:
        now = project.now(db)
        total = db.execute(count.where(*sifted)).scalar_one()
        found = db.execute(_page(sifted, keys, offset, limit)).all()
    return Page(total, tuple(_line(tuple(row), now) for row in found))


def state_counts(project: Project) -> dict[State, int]:
    """How many cases are in each state of the first review."""
    counts = select(_STATE, func.count()).select_from(_with_first()).group_by(_STATE)
    with project.read() as db:
        found = {State(name): number for name, number in db.execute(counts)}
    return {state: found.get(state, 0) for state in State}


def _with_first() -> Any:
    role = _FIRST.c.role == Role.FIRST.value
    return _CASES.outerjoin(_FIRST, and_(_FIRST.c.case_id == _CASES.c.id, role))


def _page(
    sifted: Sequence[ColumnElement[bool]],
    keys: Sequence[ColumnElement[Any]],
    offset: int,
    limit: int | None,
) -> Any:
    """Choose the page's cases first, and look up only theirs in the other tables."""
    number = func.row_number().over(order_by=keys).label("number")
    plain = ("id", "name", "modality", "added", "changed", "versions")
    page = (
        select(
            *(_CASES.c[name] for name in plain),
            _STATE.label("state"),
            _FIRST.c.reviewer,
            number,
        )
        .select_from(_with_first())
        .where(*sifted)
        .order_by(*keys)
        .offset(offset)
        .limit(limit)
        .subquery()
    )
    role = _SECOND.c.role == Role.SECOND.value
    leases = schema.leases
    return (
        select(
            *(page.c[name] for name in (*plain, "state", "reviewer")),
            _SECOND.c.state.label("second_state"),
            _SECOND.c.reviewer.label("second_reader"),
            leases.c.annotator.label("holder"),
            leases.c.until,
        )
        .outerjoin(_SECOND, and_(_SECOND.c.case_id == page.c.id, role))
        .outerjoin(leases, leases.c.case_id == page.c.id)
        .order_by(page.c.number)
    )


def _sifted(
    state: State | None, label: str | None, search: str | None
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if state is not None:
        wanted.append(_STATE.is_not_distinct_from(state.value))
    if label is not None:
        said = schema.image_labels.c
        wanted.append(
            exists().where(
                said.case_id == _CASES.c.id, said.label == label, ~said.undone
            )
        )
    if search:
        wanted.append(_CASES.c.name.icontains(search, autoescape=True))
    return wanted


def _line(row: tuple[Any, ...], now: float) -> Line:
    id, name, modality, added, changed, versions, state, reviewer = row[:8]
    second_state, second_reader, holder, until = row[8:]
    return Line(
        id=id,
        name=name,
        modality=modality,
        added=moment(added),
        changed=moment(changed),
        versions=versions,
        state=State(state),
        reviewer=reviewer or "",
        second_state=State(second_state or State.NOT_STARTED.value),
        second_reader=second_reader or "",
        holder=holder if until is not None and now < until else "",
    )
