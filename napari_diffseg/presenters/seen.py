"""Slices that have been looked at are ticked off in the project."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import Later
from napari_diffseg.presenters.slices import slice_at_hand
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas

LOOK_MS = 700
"""A slice that was shown so long was looked at; leafing through ticks nothing."""
GATHER_MS = 2_000
"""Ticks are gathered so long before they are kept."""

Tick = tuple[int, int]


class SeenPresenter:
    """Ticks slices of the project's case at hand.

    Parameters
    ----------
    session : Session
    canvas : Canvas
    books : Books
    later : Later
    """

    def __init__(
        self, session: Session, canvas: Canvas, books: Books, later: Later
    ) -> None:
        self._session, self._canvas, self._books = session, canvas, books
        self._later = later
        self._fresh: dict[str, set[Tick]] = {}
        canvas.moved.connect(self._on_moved)
        session.current_changed.connect(lambda _: self._on_moved())
        session.case_removed.connect(self._on_removed)

    def _on_moved(self) -> None:
        case = self._session.current
        if case is not None and case.entry is not None and not case.locked:
            tick = slice_at_hand(case, self._canvas)
            self._later(LOOK_MS, partial(self._looked, case, tick))

    def _looked(self, case: Case, tick: Tick) -> None:
        entry = case.entry
        if case is not self._session.current or entry is None or tick in entry.seen:
            return
        if slice_at_hand(case, self._canvas) != tick:
            return
        entry.seen.add(tick)
        first = not self._fresh.get(case.id)
        self._fresh.setdefault(case.id, set()).add(tick)
        self._session.change(case, "entry")
        if first:
            self._later(GATHER_MS, partial(self._keep, case))

    def _keep(self, case: Case) -> None:
        ticks, entry = self._fresh.pop(case.id, set()), case.entry
        if entry is None:
            return
        for axis in sorted({axis for axis, _ in ticks}):
            slices = sorted(index for one, index in ticks if one == axis)
            self._books.do(_ticked(entry.origin.case, axis, slices))

    def _on_removed(self, case: Case) -> None:
        self._keep(case)


def _ticked(id: str, axis: int, slices: list[int]) -> Callable[[Any], None]:
    def fn(ledger: Any) -> None:
        ledger.tick(id, axis, slices)

    return fn
