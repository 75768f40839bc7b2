"""The second reading of a case: begun, commented on, and how far readings agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffseg.project.entries import Readings
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import told
from napari_diffseg.presenters.saving import needs_saving
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Notices, ReadingView

_LOOKING = "reading what was said of this case ..."


class SecondPresenter:
    """Both readings of the project's case at hand; a part of panel "Project".

    Parameters
    ----------
    session : Session
    view : ReadingView
    books : Books
    notices : Notices
    leave : callable
        Closes an open case.
    open_case : callable
        Opens a case of the project by its id.
    """

    def __init__(
        self,
        session: Session,
        view: ReadingView,
        books: Books,
        notices: Notices,
        leave: Callable[[Case], Any],
        open_case: Callable[[str], Any],
    ) -> None:
        self._session, self._view, self._books = session, view, books
        self._notices, self._leave, self._open_case = notices, leave, open_case
        self._known: dict[str, Readings] = {}  # by id of the session's case
        self._asked = 0
        view.second_requested.connect(self.begin)
        view.comment_given.connect(self.comment)
        session.current_changed.connect(lambda _: self.look())
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(lambda case: self._known.pop(case.id, None))
        session.project_changed.connect(lambda _: self.look())
        view.hide_reading()

    def look(self) -> None:
        """Read how the readings of the case at hand stand, and show it."""
        self._asked += 1
        asked, case = self._asked, self._session.current
        if case is None or case.entry is None or self._books.ledger is None:
            self._view.hide_reading()
            return
        id = case.entry.origin.case
        self._show(case)

        def done(found: Readings) -> None:
            if asked == self._asked and self._session.current is case:
                self._known[case.id] = found
                self._show(case)

        self._books.ask(lambda ledger: _readings(ledger, id), done)

    def begin(self) -> None:
        """Begin to read the case at hand a second time; it opens as it was proposed."""
        case = self._session.current
        if case is None or case.entry is None:
            return
        if needs_saving(case):
            self._notices.show(
                "you have drawn in this case: a second reading begins untouched; undo "
                "what you drew first",
                "warning",
            )
            return
        id = case.entry.origin.case

        def done(_: None) -> None:
            if self._session.case(case.id) is case:
                self._leave(case)
            self._open_case(id)
            self._notices.show(
                "second reading: you see the proposal, not the first reading"
            )

        self._books.do(lambda ledger: _begin(ledger, id), done)

    def comment(self, text: str) -> None:
        """Write a comment of this annotator's reading."""
        case = self._session.current
        known = None if case is None else self._known.get(case.id)
        if case is None or case.entry is None or known is None:
            return
        if known.closed or text.strip() == known.comment:
            return
        id = case.entry.origin.case

        def failed(error: Exception) -> None:
            self._notices.show(f"the comment was not kept: {told(error)}", "error")
            self.look()

        self._books.do(
            lambda ledger: _comment(ledger, id, text.strip()),
            lambda _: self.look(),
            failed,
        )

    def _show(self, case: Case) -> None:
        known = self._known.get(case.id)
        if known is None:
            self._view.show_reading(
                case.id, "", "", closed=_LOOKING, refused=_LOOKING, second=False
            )
            return
        closed = case.locked or known.closed
        self._view.show_reading(
            case.id,
            line_of(known),
            known.comment,
            closed=closed,
            refused=case.locked or known.refused,
            second=known.second,
        )

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect == "entry" and case is self._session.current:
            self.look()


def line_of(known: Readings) -> str:
    """Who read a case, and how far they agree, in a line."""
    readers = " and ".join(one for one in known.readers if one)
    if known.agreed:
        figures = ", ".join(
            f"{one.name} Dice {one.dice:.2f}"
            + ("" if one.hd95_mm is None else f", HD95 {one.hd95_mm:.1f} mm")
            for one in known.agreed
        )
        return f"{readers} agree: {figures}"
    if known.second:
        first = known.readers[0] if known.readers else "somebody"
        return f"your second reading; what {first} drew is shown once it is done"
    return f"read by {readers}" if readers else ""


def _readings(ledger: Any, id: str) -> Readings:
    from diffseg.project.readings import readings_of

    return readings_of(ledger.project, id, ledger.annotator)


def _begin(ledger: Any, id: str) -> None:
    from diffseg.project.readings import begin_second

    begin_second(ledger.project, id, ledger.annotator)


def _comment(ledger: Any, id: str, text: str) -> None:
    from diffseg.project.readings import comment_on

    comment_on(ledger.project, id, ledger.annotator, text)
