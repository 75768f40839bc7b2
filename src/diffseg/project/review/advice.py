"""What was advised, what the annotator did next, and how often that was the same.

Both go into the audit log: an advice when it is given, an answer when somebody goes
elsewhere or there. What was not answered is read out of the log: whoever next labels,
corrects or reviews a case has gone to that case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from diffseg.project.review.queue import queue
from diffseg.project.review.slices import WRONG, next_slice, slice_strip
from diffseg.project.review.strategies import DEFAULT
from diffseg.project.store import (
    Entry,
    Project,
    Role,
    add_note,
    audit,
    case_of,
)

ADVISE, GO = "advise", "go"
_WORK = ("label", "unlabel", "relabel", "correct", "review")


@dataclass(frozen=True, slots=True)
class Advice:
    """The next place that deserves a look.

    Parameters
    ----------
    slice : int or None
        Plane of the case; None where nothing is known of its slices.
    strategy : str
        By which the case was chosen; by which the slice, where the case was given.
    """

    case_id: str
    slice: int | None
    strategy: str
    seed: int


@dataclass(frozen=True, slots=True)
class Followed:
    """How often advice was followed.

    Parameters
    ----------
    given : int
        Pieces of advice; a later one without anything done in between replaces it.
    answered : int
        After which something was done.
    followed : int
        Where that was at the place that was advised: in the same case and, where
        both are known, the same slice.
    """

    given: int
    answered: int
    followed: int

    @property
    def share(self) -> float | None:
        """Followed ones of those that were answered; None before the first."""
        return self.followed / self.answered if self.answered else None


def advise(
    project: Project,
    *,
    annotator: str,
    case_id: str | None = None,
    strategy: str = DEFAULT,
    slices: str = WRONG,
    seed: int = 0,
    role: Role = Role.FIRST,
) -> Advice | None:
    """Choose the next place that deserves a look, and note that it was advised.

    A slice of `case_id` that the annotator has not seen, while there is one that
    deserves it; then the first case of the queue, and in it the first slice.

    Parameters
    ----------
    case_id : str, optional
        The case at hand.
    strategy, slices : str
        Orders of cases, and of slices: see `queue` and `next_slice`.
    seed : int
    role : Role
        Whose reading is led.

    Returns
    -------
    Advice, or None when nothing waits

    Raises
    ------
    UserError
        There is no such strategy or case.
    """
    found = None
    if case_id is not None:
        case_of(project, case_id)
        index = _slice(project, case_id, annotator, slices, seed)
        found = None if index is None else Advice(case_id, index, slices, seed)
    if found is None:
        waiting = queue(
            project, strategy=strategy, seed=seed, limit=2, role=role,
            annotator=annotator,
        ).cases  # fmt: skip
        free = [one for one in waiting if one.holder in ("", annotator)]
        others = [one.case_id for one in free if one.case_id != case_id]
        if not others:
            return None
        index = _slice(project, others[0], annotator, slices, seed)
        found = Advice(others[0], index, strategy, seed)
    details = {"slice": found.slice, "strategy": found.strategy, "seed": found.seed}
    add_note(project, annotator, ADVISE, case_id=found.case_id, details=details)
    return found


def went_to(
    project: Project, case_id: str, slice: int | None = None, *, annotator: str
) -> None:
    """Note where an annotator went, for whoever asks whether advice was followed."""
    details = {"slice": slice}
    add_note(project, annotator, GO, case_id=case_id, details=details)


def followed(project: Project, *, annotator: str | None = None) -> dict[str, Followed]:
    """Count how often advice was followed, by strategy.

    Parameters
    ----------
    annotator : str, optional
        Of theirs alone.
    """
    return counted(audit(project), annotator)


def counted(
    entries: Iterable[Entry], annotator: str | None = None
) -> dict[str, Followed]:
    """Count in an audit log; see `followed`."""
    open_: dict[str, Entry] = {}
    counts: dict[str, list[int]] = {}
    for entry in entries:
        if annotator not in (None, entry.who):
            continue
        if entry.action == ADVISE:
            counts.setdefault(entry.details["strategy"], [0, 0, 0])[0] += 1
            open_[entry.who] = entry
        elif entry.action in (GO, *_WORK) and entry.who in open_:
            advice = open_.pop(entry.who)
            row = counts[advice.details["strategy"]]
            row[1] += 1
            row[2] += _same_place(advice, entry)
    return {name: Followed(*row) for name, row in sorted(counts.items())}


def _same_place(advice: Entry, entry: Entry) -> bool:
    if advice.case_id != entry.case_id:
        return False
    asked: Any = advice.details.get("slice")
    gone: Any = entry.details.get("slice") if entry.action == GO else None
    return asked is None or gone is None or asked == gone


def _slice(
    project: Project, case_id: str, annotator: str, strategy: str, seed: int
) -> int | None:
    strip = slice_strip(project, case_id, annotator=annotator)
    return None if strip is None else next_slice(strip, strategy, seed)
