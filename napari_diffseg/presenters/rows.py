"""A project's cases in the order, and of the kind, that the annotator wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffseg.domain import Presence
from diffseg.project.entries import STATES, CaseState, Row
from napari_diffseg.views import Column


@dataclass(frozen=True, slots=True)
class Wish:
    """How the list is sorted and sifted.

    Parameters
    ----------
    text : str
        Only cases whose name holds this, whatever the case of its letters.
    state : CaseState, optional
        Only cases that are there.
    """

    column: Column = "name"
    descending: bool = False
    text: str = ""
    state: CaseState | None = None


def arranged(
    rows: Sequence[Row], dice: Mapping[str, float], wish: Wish
) -> tuple[Row, ...]:
    """Rows as they are wanted; equal ones by name, unknown Dice last."""
    text = wish.text.casefold()
    found = [
        row
        for row in rows
        if (wish.state is None or row.state == wish.state)
        and (not text or text in row.name.casefold())
    ]
    found.sort(key=lambda row: row.name)
    if wish.column == "dice":
        known = [row for row in found if row.id in dice]
        rest = [row for row in found if row.id not in dice]
        known.sort(key=lambda row: dice[row.id], reverse=wish.descending)
        return (*known, *rest)
    found.sort(key=_KEYS[wish.column], reverse=wish.descending)
    return tuple(found)


def neighbour(rows: Sequence[Row], id: str | None, by: int) -> Row | None:
    """The case that many lines on from another; the first without that one."""
    places = {row.id: place for place, row in enumerate(rows)}
    if id not in places:
        return rows[0] if rows and by > 0 else None
    at = places[id] + by
    return rows[at] if 0 <= at < len(rows) else None


def labels_in_words(row: Row) -> str:
    """What was said of a case: "anterior, no posterior"."""
    words = {Presence.PRESENT: "", Presence.ABSENT: "no "}
    return ", ".join(
        f"{words[state]}{name}" for name, state in row.labels if state in words
    )


_KEYS: dict[Column, Callable[[Row], Any]] = {
    "name": lambda row: row.name,
    "state": lambda row: STATES.index(row.state),
    "labels": labels_in_words,
    "who": lambda row: row.who,
}
