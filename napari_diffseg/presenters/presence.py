"""Labels by slice: where a structure starts and ends, said with two keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from diffseg.domain import Label, Presence
from diffseg.project.entries import Said, labels_of
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import JournalPort
from napari_diffseg.presenters.slices import flipped, flips, plane_word, slice_at_hand
from napari_diffseg.session import Case, Entry, Session
from napari_diffseg.views import Canvas, LabelStrip, LabelsView, Notices, PresenceView

_CLOSED = "open a case of a project to say where structures start and end"


class PresencePresenter:
    """Labels of the project's case at hand, as a whole and by slice.

    Parameters
    ----------
    session : Session
    view : PresenceView
    labels : LabelsView
        Where the whole case's are said.
    canvas : Canvas
    books : Books
    journal : JournalPort
    notices : Notices
    active : callable
        Value of the structure in hand.
    refresh : callable
        Has the project's list read anew.
    """

    def __init__(
        self,
        session: Session,
        view: PresenceView,
        labels: LabelsView,
        canvas: Canvas,
        books: Books,
        journal: JournalPort,
        notices: Notices,
        active: Callable[[], int],
        refresh: Callable[[], object],
    ) -> None:
        self._session, self._view, self._canvas = session, view, canvas
        self._books, self._journal, self._notices = books, journal, notices
        self._active, self._refresh = active, refresh
        self._state = Presence.PRESENT
        view.starts_requested.connect(self.start)
        view.ends_requested.connect(self.end)
        view.undo_requested.connect(self.undo)
        view.state_chosen.connect(self.set_state)
        view.slice_chosen.connect(self.go_to_slice)
        labels.presence_given.connect(self.say_of_case)
        labels.label_chosen.connect(lambda _: self.show())
        canvas.label_changed.connect(lambda _: self.show())
        canvas.moved.connect(self.show)
        session.current_changed.connect(lambda _: self.show())
        session.case_changed.connect(self._on_changed)
        self.show()

    def set_state(self, state: Presence) -> None:
        """Say this of the next range."""
        self._state = state
        self.show()

    def start(self) -> None:
        """Note that the structure in hand starts at the slice that is looked at."""
        case, entry, plane = self._here()
        label = self._label(case)
        if case is None or entry is None or plane is None or label is None:
            return
        entry.begun = (label.name, plane)
        self._session.change(case, "entry")

    def end(self) -> None:
        """Say the range from where the structure started to the slice looked at."""
        case, entry, plane = self._here()
        label = self._label(case)
        if case is None or entry is None or plane is None or label is None:
            return
        if entry.begun is None or entry.begun[0] != label.name:
            self._notices.show(
                f"go to the slice where {label.name} starts first, and press S there",
                "warning",
            )
            return
        first, last = sorted((entry.begun[1], plane))
        entry.begun = None
        self._say(case, entry, label.name, self._state, (first, last + 1))

    def undo(self) -> None:
        """Take back what was said last, or the start of a range."""
        case = self._session.current
        entry = case.entry if case is not None else None
        if case is None or entry is None or case.locked:
            return
        if entry.begun is not None:
            entry.begun = None
            self._session.change(case, "entry")
            return
        id = entry.origin.case

        def done(found: tuple[str, Mapping[str, Said]]) -> None:
            name, said = found
            self._take(case, entry, said)
            what = f"what was said last of {name} is taken back" if name else ""
            self._notices.show(what or "nothing was said that could be taken back")

        self._books.do(lambda ledger: ledger.unsay(id), done)

    def say_of_case(self, name: str, state: Presence) -> None:
        """Say whether a structure is in the case at hand."""
        case = self._session.current
        if case is not None and case.entry is not None and not case.locked:
            self._say(case, case.entry, name, state, None)

    def go_to_slice(self, shown: int) -> None:
        """Look at a slice of the strip, where one looks now."""
        case = self._session.current
        if case is not None:
            _, row, column = self._canvas.voxel_at_hand(case)
            self._canvas.go_to(case, (flipped(case, 0, shown), row, column))

    def show(self) -> None:
        """Show what is known, and what was begun."""
        case = self._session.current
        entry = case.entry if case is not None else None
        if case is None or entry is None:
            self._view.show_range("", False, _CLOSED)
            self._view.show_strips((), None)
            return
        label = self._label(case)
        axis, index = slice_at_hand(case, self._canvas)
        why = case.locked or ""
        if not why and label is None:
            why = "choose a structure first"
        if not why and axis != 0:
            why = f"look at {plane_word(case, 0)}s to say where structures start"
        self._view.show_range(_words(case, entry, label, self._state), not why, why)
        strips = [_strip(case, entry, one) for one in case.table.each()]
        here = flipped(case, 0, index) if axis == 0 else None
        self._view.show_strips(strips, here)

    def _here(self) -> tuple[Case | None, Entry | None, int | None]:
        """The case at hand, and the plane that is looked at; told if there is none."""
        case = self._session.current
        if case is None or case.entry is None:
            self._notices.show(_CLOSED, "warning")
            return None, None, None
        if case.locked:
            self._notices.show(case.locked, "warning")
            return None, None, None
        axis, index = slice_at_hand(case, self._canvas)
        if axis != 0:
            word = plane_word(case, 0)
            self._notices.show(f"ranges are said of {word}s: look at these", "warning")
            return None, None, None
        return case, case.entry, index

    def _label(self, case: Case | None) -> Label | None:
        if case is None:
            return None
        value = self._active()
        return next((one for one in case.table.each() if one.value == value), None)

    def _say(
        self,
        case: Case,
        entry: Entry,
        name: str,
        state: Presence,
        slices: tuple[int, int] | None,
    ) -> None:
        id, table = entry.origin.case, case.table
        self._books.do(
            lambda ledger: ledger.say(id, name, state, slices, table),
            lambda said: self._take(case, entry, said),
        )
        self._session.change(case, "entry")

    def _take(self, case: Case, entry: Entry, said: Mapping[str, Said]) -> None:
        entry.said, entry.fixed = said, True
        case.labels = labels_of(said)
        self._journal.replace(case.id, labels=case.labels)
        if self._session.case(case.id) is case:
            self._session.change(case, "labels")
            self._session.change(case, "entry")
        self._refresh()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is self._session.current and aspect in ("entry", "table", "labels"):
            self.show()


def _strip(case: Case, entry: Entry, label: Label) -> LabelStrip:
    planes = case.volume.shape[0]
    said = entry.said.get(label.name)
    slices = np.zeros(planes, np.uint8) if said is None else said.slices
    begun = None
    if entry.begun is not None and entry.begun[0] == label.name:
        begun = flipped(case, 0, entry.begun[1])
    whole = Presence.UNKNOWN if said is None else said.whole
    shown = slices[::-1] if flips(case, 0) else slices
    return LabelStrip(label, whole, np.ascontiguousarray(shown), begun)


def _words(case: Case, entry: Entry, label: Label | None, state: Presence) -> str:
    if entry.begun is None:
        return ""
    name, plane = entry.begun
    if label is None or label.name != name:
        return f"{name} was begun; choose it to go on"
    at = flipped(case, 0, plane) + 1
    return f"{name} {state.value} from slice {at}: press D where that ends"
