"""Opening cases, choosing among them, their geometry and their display."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.project.annotation import proposed_change
from diffseg.volume import Display, read_mask
from napari_diffseg.presenters.facts import facts_of, windows_of
from napari_diffseg.presenters.geometry import measured_on, spaced
from napari_diffseg.presenters.opening import Opener
from napari_diffseg.presenters.ports import Background, JournalPort, told
from napari_diffseg.presenters.tables import used_values, with_values
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, CaseView, Notices

AskReplace = Callable[[int, str], bool | None]


class CasePresenter:
    """Panel "Case".

    Parameters
    ----------
    session : Session
    view : CaseView
    canvas : Canvas
    opener : Opener
    journal : JournalPort
    notices : Notices
    background : Background
    ask_replace : callable
        Asks whether what was drawn may be replaced; see `ProposeView.ask_replace`.
    """

    def __init__(
        self,
        session: Session,
        view: CaseView,
        canvas: Canvas,
        opener: Opener,
        journal: JournalPort,
        notices: Notices,
        background: Background,
        ask_replace: AskReplace,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._opener = opener
        self._journal = journal
        self._notices = notices
        self._background = background
        self._ask_replace = ask_replace
        self._windows: dict[str, dict[str, tuple[float, float]]] = {}
        self._window: dict[str, str] = {}
        self._showing_anew = False
        self._listen()
        self._show()

    def _listen(self) -> None:
        view, canvas, session = self._view, self._canvas, self._session
        view.open_requested.connect(self._opener.open)
        view.mask_requested.connect(self.load_mask)
        view.close_requested.connect(self.close_current)
        view.case_chosen.connect(session.choose)
        view.spacing_given.connect(self.give_spacing)
        view.plane_chosen.connect(canvas.set_plane)
        view.radiological_toggled.connect(canvas.set_radiological)
        view.window_chosen.connect(self.choose_window)
        canvas.case_deleted.connect(self._on_deleted)
        canvas.case_selected.connect(self._on_selected)
        canvas.image_added.connect(self._opener.adopt)
        canvas.image_renamed.connect(self.rename)
        canvas.dirty.connect(self._on_edited)
        canvas.edited.connect(self._on_edited)
        session.case_added.connect(self._on_added)
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)

    def close_current(self) -> None:
        """Close the current case: its layers go, unexported strokes stay on disk."""
        case = self._session.current
        if case is not None:
            self.close(case)

    def close(self, case: Case) -> None:
        """Close a case; a project's is saved as it goes."""
        self._canvas.forget_case(case.id)
        self._close(case)

    def rename(self, case_id: str, name: str) -> None:
        """Follow the name of the image's layer."""
        case = self._session.case(case_id)
        if case is not None and case.name != name:
            case.name = name
            self._journal.replace(case.id, name=name)
            self._session.change(case, "name")

    def choose_window(self, name: str) -> None:
        """Show another range of intensities; models see all of them."""
        case = self._session.current
        windows = self._windows.get(case.id, {}) if case else {}
        if case is None or name not in windows:
            return
        self._window[case.id] = name
        self._canvas.set_window(case, *windows[name])

    def give_spacing(self, plane: float, row: float, column: float) -> None:
        """Give the current case millimetres; its mask stays as it is."""
        case = self._session.current
        if case is None:
            return
        try:
            volume = spaced(case.volume, (plane, row, column))
        except UserError as error:
            self._notices.show(str(error), "error")
            return
        case.volume, case.display = volume, Display.of(volume.grid)
        if case.proposal is not None:
            case.proposal = measured_on(case.proposal, volume.grid)
        self._journal.replace(case.id, volume=volume)
        self._show_anew(case)
        self._session.change(case, "geometry")

    def load_mask(self, path: str) -> None:
        """Read a mask and put it into the current case, to be corrected.

        It is one undoable step. What it brings is not marked as drawn here, but
        a later proposal asks before it replaces it (`Case.given`).
        """
        case = self._session.current
        if not path.strip():
            return
        if case is None:
            self._notices.show("open the image of that mask first", "warning")
            return
        if case.locked:
            self._notices.show(case.locked, "warning")
            return
        volume = case.volume
        self._background(
            lambda: read_mask(path, like=volume),
            lambda values: self._take_mask(case, values),
            lambda error: self._notices.show(told(error), "error"),
        )

    def _take_mask(self, case: Case, values: NDArray[np.uint8]) -> None:
        if self._session.case(case.id) is not case:
            return
        note = case.annotation
        drawn = int(np.count_nonzero(note.touched & (note.values != values)))
        answer = self._ask_replace(drawn, voxel_word(case.volume)) if drawn else False
        if answer is None or self._session.case(case.id) is not case:
            return
        table = with_values(case.table, used_values(values))
        if table is not case.table:
            case.table = table
            self._journal.replace(case.id, table=table)
            self._canvas.show_table(case)
            self._session.change(case, "table")
        change = proposed_change(note, values, replace_touched=answer)
        given = np.array(values)
        given.setflags(write=False)
        case.given = given
        self._canvas.apply(case, change)
        self._journal.note(case.id)
        self._session.change(case, "mask")
        read = counted(int(np.count_nonzero(values)), voxel_word(case.volume))
        self._notices.show(f"mask read: {read} to correct")

    def _close(self, case: Case) -> None:
        self._session.remove(case.id)
        self._windows.pop(case.id, None)
        self._window.pop(case.id, None)
        if case.entry is not None:
            return  # the project keeps it
        if case.unsaved and bool(case.annotation.touched.any()):
            self._journal.flush(case.id)
            self._opener.shelve(case)
            self._notices.show(
                f"{case.name} is closed; its strokes were not exported and are kept: "
                "open the image again to go on",
                "warning",
            )
        else:
            self._journal.forget(case.id)

    def _show_anew(self, case: Case) -> None:
        self._showing_anew = True
        try:
            self._canvas.forget_case(case.id)
            self._canvas.show_case(case)
            if case.proposal is not None:
                self._canvas.show_proposal(case)
            self._apply_window(case)
            self._canvas.look_at(case)
        finally:
            self._showing_anew = False

    def _look_for_windows(self, case: Case) -> None:
        """Measure the ranges of a case's intensities, and show them."""

        def found(windows: dict[str, tuple[float, float]]) -> None:
            if self._session.case(case.id) is case:
                self._windows[case.id] = windows
                self._show_windows()
                self._apply_window(case)

        self._background(
            lambda: windows_of(case),
            found,
            lambda error: self._notices.show(told(error), "error"),
        )

    def _apply_window(self, case: Case) -> None:
        """Show the chosen range, or the first one, which fits the modality."""
        windows = self._windows.get(case.id, {})
        name = self._window.get(case.id, next(iter(windows), ""))
        if name in windows:
            self._canvas.set_window(case, *windows[name])

    def _on_deleted(self, case_id: str) -> None:
        case = self._session.case(case_id)
        if case is not None and not self._showing_anew:
            self._canvas.forget_case(case_id)
            self._close(case)

    def _on_selected(self, case_id: str) -> None:
        if self._session.case(case_id) is not None:
            self._session.choose(case_id)

    def _on_edited(self, case_id: str) -> None:
        case = self._session.case(case_id)
        if case is not None:
            case.unsaved = True
            case.edits += 1
            self._journal.note(case_id)

    def _on_added(self, case: Case) -> None:
        layers, case.layers = case.layers, ()
        if layers:
            self._canvas.replace_image(case, *layers)
        else:
            self._canvas.show_case(case)
        if case.proposal is not None:  # closed before, and open again
            self._canvas.show_proposal(case)

    def _on_current(self, case: Case | None) -> None:
        if case is not None:
            self._canvas.look_at(case)
        self._show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect in ("name", "geometry"):
            self._show()

    def _show(self) -> None:
        session, case = self._session, self._session.current
        self._view.set_cases(
            [(one.id, one.name) for one in session.cases], case.id if case else None
        )
        self._view.show_facts(facts_of(case) if case else None)
        self._show_windows()
        if case is not None and case.id not in self._windows:
            self._look_for_windows(case)

    def _show_windows(self) -> None:
        case = self._session.current
        windows = self._windows.get(case.id, {}) if case else {}
        first = next(iter(windows), None)
        shown = self._window.get(case.id, first) if case else None
        self._view.set_windows(tuple(windows), shown)
