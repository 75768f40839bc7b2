"""Saving: versions of masks, proposals and states go into the project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from diffseg.domain import LabelTable
from diffseg.project.entries import CaseState, Kept, Loaded, Saved
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import JournalPort, told
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.session import Case, Entry, Session
from napari_diffseg.views import Canvas, CaseStatus, Notices, ProjectView


class SavePresenter:
    """Keeps what becomes of the project's open case.

    A copy of the mask is taken at once; writing it never makes the window wait.
    Until it is written, the journal has it.

    Parameters
    ----------
    session : Session
    view : ProjectView
    canvas : Canvas
    books : Books
    journal : JournalPort
    notices : Notices
    refresh : callable
        Has the project's list read anew.
    now : callable
        The time of day.
    """

    def __init__(
        self,
        session: Session,
        view: ProjectView,
        canvas: Canvas,
        books: Books,
        journal: JournalPort,
        notices: Notices,
        refresh: Callable[[], Any],
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._session, self._view, self._books = session, view, books
        self._journal, self._notices, self._canvas = journal, notices, canvas
        self._refresh, self._now = refresh, now
        self.ahead: Callable[[int], object] = lambda by: None
        self._saving: set[str] = set()
        self._lost: dict[str, Case] = {}  # closed, and could not be saved
        view.save_requested.connect(self.save_current)
        view.state_chosen.connect(self.set_state)
        canvas.edited.connect(self._on_edited)
        session.current_changed.connect(lambda _: self.show())
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(self._on_removed)
        session.project_changed.connect(lambda _: self.show())
        self.show()

    def save_current(self) -> None:
        """Save the mask of the project's case at hand as a new version."""
        case = self._session.current
        if case is None or case.entry is None:
            self._notices.show("open a case of the project first", "warning")
        elif case.locked:
            self._notices.show(case.locked, "warning")
        elif not needs_saving(case):
            self._notices.show(f"{case.name}: nothing has changed since it was saved")
        else:
            self.save(case)

    def save(self, case: Case, then: Callable[[], Any] | None = None) -> None:
        """Save a case's mask, as it is now, as a new version."""
        entry = case.entry
        if entry is None or case.locked:
            return
        edits, note = case.edits, case.annotation
        mask, touched = note.values.copy(), note.touched.copy()
        table = case.table

        def done(saved: Saved) -> None:
            self._saving.discard(case.id)
            self._saved(case, entry, saved, whole=case.edits == edits)
            if then is not None:
                then()

        self._saving.add(case.id)
        self._books.do(
            # What came before it is read when it is its turn.
            lambda ledger: ledger.save(entry.origin, mask, touched, table),
            done,
            partial(self._failed, case),
        )
        self.show()

    def leave(self, case: Case) -> None:
        """Save a case whose window goes, if there is something to save."""
        if needs_saving(case):
            self.save(case)

    def set_state(self, state: CaseState) -> None:
        """Say how far the case at hand is; what is done or flagged is saved."""
        case = self._session.current
        if case is None or case.entry is None:
            return
        if case.locked:
            self._notices.show(case.locked, "warning")
            self.show()
            return
        never = not case.entry.version and bool(case.annotation.values.any())
        if state in ("done", "flagged") and (needs_saving(case) or never):
            self.save(case)
        self._set_state(case, case.entry, state)

    def entry_of(self, loaded: Loaded) -> tuple[Entry, Case | None]:
        """A case's place in the project; and its earlier self, if that was lost."""
        entry = Entry(
            loaded.origin,
            loaded.state,
            loaded.version,
            loaded.said,
            seen=set(loaded.seen),
            fixed=loaded.table is not None,
            errors=loaded.errors,
        )
        return entry, self._lost.pop(loaded.origin.case, None)

    def show(self) -> None:
        """Show how the case at hand stands."""
        case = self._session.current
        if case is None or case.entry is None:
            self._view.show_case(None)
            return
        entry = case.entry
        self._view.show_case(
            CaseStatus(
                case.name,
                entry.state,
                self._line(case, entry),
                needs_saving(case) and case.id not in self._saving,
                bool(case.locked),
                self.ahead(1) is not None,
                self.ahead(-1) is not None,
            )
        )

    def _line(self, case: Case, entry: Entry) -> str:
        if case.locked:
            return case.locked
        if case.id in self._saving:
            return "saving ..."
        version = f"version {entry.version}" if entry.version else "no version yet"
        if needs_saving(case):
            return f"{version}; what you do is in the journal until you save"
        return f"{version}{entry.saved}"

    def _saved(self, case: Case, entry: Entry, saved: Saved, *, whole: bool) -> None:
        entry.origin = replace(entry.origin, parent=saved.id)
        entry.version = saved.version
        entry.saved = f", saved {self._now():%H:%M:%S}"
        open_ = self._session.case(case.id) is case
        self._journal.replace(case.id, origin=entry.origin)
        if whole:
            case.unsaved = False
            if open_:
                self._journal.exported(case.id)
        if not open_:
            self._journal.forget(case.id)
        text = f"{case.name}: version {saved.version} saved"
        word = counted(saved.voxels, voxel_word(case.volume))
        self._notices.show(f"{text}, {word} changed")
        if saved.beside:
            self._notices.show(
                f"{case.name}: somebody else saved a version since yours began; both "
                "are kept, and yours is the newest",
                "warning",
            )
        self.show()
        self._refresh()

    def _failed(self, case: Case, error: Exception) -> None:
        self._saving.discard(case.id)
        kept = "its strokes are kept in the journal"
        self._notices.show(f"{case.name} was not saved: {told(error)}; {kept}", "error")
        if self._session.case(case.id) is not case and case.entry is not None:
            self._lost[case.entry.origin.case] = case
        self.show()

    def _set_state(self, case: Case, entry: Entry, state: CaseState) -> None:
        before, entry.state = entry.state, state

        def failed(error: Exception) -> None:
            entry.state = before
            self._notices.show(f"{case.name}: {told(error)}", "error")
            self._session.change(case, "entry")

        id = entry.origin.case
        self._books.do(
            lambda ledger: ledger.set_state(id, state),
            lambda _: self._refresh(),
            failed,
        )
        self._session.change(case, "entry")

    def _on_edited(self, case_id: str) -> None:
        case = self._session.case(case_id)
        if case is None or case.entry is None or case.locked:
            return
        if case.entry.state in ("not_started", "done"):
            self._set_state(case, case.entry, "in_progress")
        self.show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        entry = case.entry
        if entry is None:
            return
        if aspect == "proposal" and case.proposal is not None and not case.locked:
            self._keep_proposal(case, entry)
        elif aspect == "table" and entry.fixed and not case.locked:
            table = case.table
            self._books.do(
                lambda ledger: ledger.take_table(table),
                None,
                partial(self._refused, case),
            )
        if case is self._session.current:
            self.show()

    def _keep_proposal(self, case: Case, entry: Entry) -> None:
        proposal = case.proposal
        if proposal is None:
            return
        id = entry.origin.case

        def done(kept: Kept) -> None:
            entry.origin = replace(entry.origin, proposal=kept.id)
            entry.errors = kept.errors
            self._journal.replace(case.id, origin=entry.origin)
            self._session.change(case, "entry")
            self._refresh()

        def failed(error: Exception) -> None:
            line = f"{case.name}: the proposal was not kept in the project"
            self._notices.show(f"{line}: {told(error)}", "error")

        self._books.do(lambda ledger: ledger.keep_proposal(id, proposal), done, failed)

    def _refused(self, case: Case, error: Exception) -> None:
        """Go back to the project's table, which does not take a change."""
        self._notices.show(f"{case.name}: {told(error)}", "warning")

        def found(table: LabelTable | None) -> None:
            if table is not None and self._session.case(case.id) is case:
                case.table = table
                self._canvas.show_table(case)
                self._journal.replace(case.id, table=table)
                self._session.change(case, "table")

        self._books.ask(lambda ledger: ledger.table(), found)

    def _on_removed(self, case: Case) -> None:
        if case.entry is None:
            return
        if case.locked or not needs_saving(case):
            if case.id not in self._saving:
                self._journal.forget(case.id)
        else:
            self._journal.flush(case.id)
            self.save(case)


def needs_saving(case: Case) -> bool:
    """Whether the mask in hand is in no version of the project."""
    entry = case.entry
    if entry is None or case.locked:
        return False
    return case.unsaved
