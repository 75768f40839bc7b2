"""Cases of a project: opened under a lease, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diffseg.project.entries import Loaded, ProjectFacts, Row, Taken
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import Later, Restored
from napari_diffseg.presenters.project import ProjectPresenter
from napari_diffseg.presenters.rows import neighbour
from napari_diffseg.presenters.under_way import UnderWay
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Notices, ProjectView

RENEW_MS = 60_000
"""A lease holds for minutes; it is renewed well before."""
WAIT_MS = 5_000
"""How often a case that somebody else has is asked for."""

Then = Callable[[Case], Any]


class ProjectCases:
    """Opens the project's cases, and holds their leases.

    Parameters
    ----------
    session : Session
    view : ProjectView
    books : Books
    project : ProjectPresenter
        Knows the list.
    notices : Notices
    make : callable
        Makes a case of what was read, and shows it.
    leave : callable
        Closes an open case, whose work is saved.
    pause : Later, optional
        Calls after a pause; without one, leases are not renewed.
    """

    def __init__(
        self,
        session: Session,
        view: ProjectView,
        books: Books,
        project: ProjectPresenter,
        notices: Notices,
        make: Callable[[Loaded], Case],
        leave: Callable[[Case], Any],
        pause: Later | None,
    ) -> None:
        self._session, self._view, self._books = session, view, books
        self._project, self._notices = project, notices
        self._make, self._leave, self._pause = make, leave, pause
        self._under_way = UnderWay(session, notices, books.reading)
        self._waiting: str | None = None
        self._round = 0
        self._folder: Path | None = None
        view.case_requested.connect(self.open)
        view.step_requested.connect(self.step)
        session.case_removed.connect(self._on_removed)
        session.project_changed.connect(self._on_project)

    @property
    def current(self) -> Case | None:
        """The open case of the project, whichever the panels speak of."""
        cases = self._session.cases
        return next((one for one in cases if one.entry is not None), None)

    def open(self, id: str, then: Then | None = None, read_only: bool = False) -> None:
        """Open a case; the one that is open is saved and left.

        Parameters
        ----------
        id : str
            Of the project's case.
        then : callable, optional
            Called with the case once it is open.
        read_only : bool
            Look at it without a lease.
        """
        ledger = self._books.ledger
        if ledger is None:
            return
        self._waiting = None
        there = self._open_case(id)
        if there is not None:
            self._session.choose(there.id)
            if then is not None:
                then(there)
            return
        self._under_way.stop()
        self._under_way.read(
            ((f"case {id}",), None),
            self.name_of(id),
            lambda: ledger.load(id, read_only),
            lambda found: self._found(id, found, then),
        )

    def step(self, by: int) -> None:
        """Open the next case of the list, or the one before."""
        row = self.ahead(by)
        if row is not None:
            self.open(row.id)
        elif self._books.ledger is not None:
            end = "last" if by > 0 else "first"
            self._notices.show(f"this is the {end} case of the list")

    def ahead(self, by: int) -> Row | None:
        """The case that many lines on from the open one."""
        case = self.current
        here = case.entry.origin.case if case and case.entry else None
        return neighbour(self._project.rows, here, by)

    def take_up(self, restored: Restored, then: Then) -> None:
        """Open the case of strokes that were left behind."""
        if restored.origin is not None:
            self.open(restored.origin.case, then)

    def stop(self) -> None:
        """Open nothing any more."""
        self._under_way.stop()
        self._waiting = None
        self._round += 1

    def name_of(self, id: str) -> str:
        """What a case is called."""
        rows = self._project.rows
        return next((row.name for row in rows if row.id == id), "the case")

    def _found(self, id: str, found: Loaded | Taken, then: Then | None) -> None:
        if isinstance(found, Loaded):
            for one in [one for one in self._session.cases if one.entry is not None]:
                self._leave(one)
            case = self._make(found)
            self._project.refresh()
            if then is not None:
                then(case)
            return
        name, until = self.name_of(id), f"{found.until:%H:%M}"
        answer = self._view.ask_taken(name, found.who, until)
        if answer == "read":
            self.open(id, then, read_only=True)
        elif answer == "wait" and self._pause is not None:
            self._waiting = id
            self._notices.show(f"waiting for {found.who} to leave {name}")
            self._pause(WAIT_MS, partial(self._try_again, id, then))

    def _try_again(self, id: str, then: Then | None) -> None:
        ledger = self._books.ledger
        if self._waiting != id or ledger is None:
            return

        def answered(taken: Taken | None) -> None:
            if self._waiting != id:
                return
            if taken is None:
                self.open(id, then)
            elif self._pause is not None:
                self._pause(WAIT_MS, partial(self._try_again, id, then))

        self._books.ask(lambda ledger: ledger.renew(id), answered)

    def _open_case(self, id: str) -> Case | None:
        return next(
            (
                case
                for case in self._session.cases
                if case.entry is not None and case.entry.origin.case == id
            ),
            None,
        )

    def release(self, case: Case) -> None:
        """Give an open case back, after what is saved of it."""
        entry = case.entry
        if entry is not None and not case.locked:
            id = entry.origin.case
            self._books.do(lambda ledger: ledger.release(id))

    def _on_removed(self, case: Case) -> None:
        self.release(case)
        if case.entry is not None:
            self._project.refresh()

    def _on_project(self, facts: ProjectFacts | None) -> None:
        if facts is None:
            self.stop()
            self._folder = None
        elif facts.folder != self._folder:
            self._folder = facts.folder
            self._round += 1
            self._again(self._round)

    def _again(self, turn: int) -> None:
        """Renew leases, and see what others did, every now and then."""
        if self._pause is not None:
            self._pause(RENEW_MS, partial(self._renew, turn))

    def _renew(self, turn: int) -> None:
        if turn != self._round or self._books.ledger is None:
            return
        for case in self._session.cases:
            entry = case.entry
            if entry is not None and not case.locked:
                self._books.do(
                    partial(_renewed, entry.origin.case), partial(self._told, case)
                )
        self._project.refresh()
        self._again(turn)

    def _told(self, case: Case, taken: Taken | None) -> None:
        if taken is not None and self._session.case(case.id) is case:
            self._notices.show(
                f"{case.name}: {taken.who} works on it, too, since your lease ended; "
                "what you save is kept beside theirs",
                "warning",
            )


def _renewed(id: str, ledger: Any) -> Taken | None:
    taken: Taken | None = ledger.renew(id)
    return taken
