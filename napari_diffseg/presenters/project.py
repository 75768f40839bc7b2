"""The project: made, opened and closed; its list, sorted and sifted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from diffseg.project.entries import STATES, Row
from diffseg.project.recent import is_project, note_recent, recent_projects
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import JournalPort, Later, told
from napari_diffseg.presenters.rows import Wish, arranged
from napari_diffseg.session import Busy, Case, Session
from napari_diffseg.views import Column, Notices, ProjectView

if TYPE_CHECKING:
    from diffseg.project.ledger import Ledger

REFRESH_MS = 400
"""Changes rest so long before the list is read anew."""


class ProjectPresenter:
    """Panel "Project": which one is open, and its list of cases.

    Parameters
    ----------
    session : Session
    view : ProjectView
    books : Books
    journal : JournalPort
    notices : Notices
    later : Later
    leave : callable
        Closes an open case, whose work is saved.
    """

    def __init__(
        self,
        session: Session,
        view: ProjectView,
        books: Books,
        journal: JournalPort,
        notices: Notices,
        later: Later,
        leave: Callable[[Case], Any],
    ) -> None:
        self._session, self._view, self._books = session, view, books
        self._journal, self._notices, self._later = journal, notices, later
        self._leave = leave
        self._window = uuid4().hex[:16]
        self._all: tuple[Row, ...] = ()
        self._dice: dict[str, float] = {}
        self._wish = Wish()
        self._rows: tuple[Row, ...] = ()
        self._asked = 0
        self.opened: Callable[[], Any] | None = None
        view.open_requested.connect(self.open)
        view.create_requested.connect(self.create)
        view.close_requested.connect(self.close)
        view.add_requested.connect(self.add)
        view.sort_requested.connect(self.sort)
        view.sift_requested.connect(self.sift)
        session.current_changed.connect(lambda _: self._show_rows())
        self._show()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The cases of the list, as they are shown."""
        return self._rows

    def open(self, folder: str, annotator: str = "") -> None:
        """Open the project of a folder."""
        if not folder.strip():
            return
        place = Path(folder.strip()).expanduser()
        if not is_project(place):
            self._notices.show(
                f"{place} is not a project; make one there with New", "warning"
            )
            return
        self._begin(place, annotator, new=False)

    def create(self, folder: str, annotator: str = "") -> None:
        """Make a project in a new or empty folder, and open it."""
        if folder.strip():
            place = Path(folder.strip()).expanduser()
            self._begin(place, annotator, new=not is_project(place))

    def close(self) -> None:
        """Save the open cases, and let go of the project."""
        if self._books.ledger is None:
            return
        for case in [one for one in self._session.cases if one.entry is not None]:
            self._leave(case)
        self._books.close()
        self._journal.leave()
        self._all, self._dice = (), {}
        self._session.set_project(None)
        self._show()

    def add(self, images: Sequence[str]) -> None:
        """Add images as cases: all of them, or none."""
        names = [name for name in images if name.strip()]
        if not names or self._books.ledger is None:
            return
        word = f"{len(names)} image{'s' if len(names) > 1 else ''}"
        self._session.set_busy(Busy("", f"adding {word} ..."))

        def done(count: int) -> None:
            self._session.set_busy(None)
            self._notices.show(f"{count} case{'s' if count != 1 else ''} added")
            self.refresh()

        self._books.do(lambda ledger: ledger.add(names), done, self._failed)

    def sort(self, column: Column, descending: bool) -> None:
        """Sort the list."""
        self._wish = replace(self._wish, column=column, descending=descending)
        self._arrange()

    def sift(self, text: str, state: str) -> None:
        """Show only some cases."""
        known = next((one for one in STATES if one == state), None)
        self._wish = replace(self._wish, text=text.strip(), state=known)
        self._arrange()

    def refresh(self) -> None:
        """Read the list anew, once changes rest."""
        self._asked += 1
        self._later(REFRESH_MS, partial(self._read, self._asked))

    def _begin(self, place: Path, annotator: str, *, new: bool) -> None:
        here = self._session.project
        if here is not None and here.folder == place.absolute():
            return
        self.close()
        self._session.set_busy(Busy("", f"opening {place.name} ..."))

        def fn() -> tuple[Ledger, tuple[Row, ...]]:
            from diffseg.project.ledger import make_ledger, open_ledger

            opening = make_ledger if new else open_ledger
            ledger = opening(place, annotator, self._window)
            note_recent(ledger.folder)
            return ledger, ledger.rows()

        self._books.reading(fn, lambda found: self._begun(*found), self._failed)

    def _begun(self, ledger: Ledger, rows: tuple[Row, ...]) -> None:
        self._session.set_busy(None)
        if self._books.ledger is not None:  # another was faster
            self._books.reading(ledger.close, lambda _: None, self._failed)
            return
        self._books.ledger, self._all = ledger, rows
        self._journal.enter(ledger.journal_folder)
        self._session.set_project(ledger.facts(rows))
        self._show()
        self._read_dice()
        if self.opened is not None:
            self.opened()

    def _failed(self, error: Exception) -> None:
        self._session.set_busy(None)
        self._notices.show(told(error), "error")

    def _read(self, asked: int) -> None:
        if asked == self._asked:
            self._books.ask(lambda ledger: ledger.rows(), self._take)

    def _take(self, rows: tuple[Row, ...]) -> None:
        ledger = self._books.ledger
        if ledger is None:
            return
        if rows != self._all:
            self._all = rows
            self._session.set_project(ledger.facts(rows))
            self._view.show_project(self._session.project)
            self._arrange()
        self._read_dice()

    def _read_dice(self) -> None:
        def found(dice: dict[str, float]) -> None:
            if dice != self._dice:
                self._dice = dice
                self._arrange()

        self._books.ask(lambda ledger: ledger.dice(), found)

    def _arrange(self) -> None:
        self._rows = arranged(self._all, self._dice, self._wish)
        self._show_rows()

    def _show(self) -> None:
        self._view.show_recent([str(one) for one in recent_projects()])
        self._view.show_project(self._session.project)
        self._arrange()

    def _show_rows(self) -> None:
        case = self._session.current
        here = case.entry.origin.case if case and case.entry else None
        self._view.show_rows(self._rows, self._dice, here)
