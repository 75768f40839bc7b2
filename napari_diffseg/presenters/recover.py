"""What an earlier window left behind, crashed or closed: offered, and put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import DiffsegError, UserError
from diffseg.volume import Grid, Volume
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.geometry import GIVEN_BY_HAND
from napari_diffseg.presenters.opening import Opener
from napari_diffseg.presenters.ports import (
    JournalLeftover,
    JournalPort,
    Restored,
    told,
)
from napari_diffseg.presenters.tables import key_of
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, Leftover, Notices, RecoverView

if TYPE_CHECKING:
    from diffseg.project.ledger import Ledger

TakeUp = Callable[[Restored, Callable[[Case], Any]], Any]
"""Opens the case of a project that strokes belong to."""


class RecoverPresenter:
    """The question what to do with what was left behind, and its answer.

    Parameters
    ----------
    session : Session
    view : RecoverView
    canvas : Canvas
    opener : Opener
    journal : JournalPort
    notices : Notices
    now : callable
        The time of day that "today" is meant by.
    """

    def __init__(
        self,
        session: Session,
        view: RecoverView,
        canvas: Canvas,
        opener: Opener,
        journal: JournalPort,
        notices: Notices,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._opener = opener
        self._journal = journal
        self._notices = notices
        self._now = now
        self._waiting: list[str] = []
        self.take_up: TakeUp | None = None
        session.case_added.connect(self._on_added)

    def start(self) -> None:
        """Ask, if there is something to ask; what is not answered stays."""
        self.ask(self._journal.leftovers())

    def start_project(self, books: Books) -> None:
        """Ask about strokes of the open project that no version of it holds."""
        found = tuple(self._journal.project_leftovers())

        def unsaved(ledger: Ledger) -> list[JournalLeftover]:
            return [one for one in found if not self._is_saved(ledger, one.id)]

        if found:
            books.ask(unsaved, self.ask)

    def _is_saved(self, ledger: Ledger, id: str) -> bool:
        """Whether the project has it; it is thrown away then."""
        try:
            saved = ledger.is_saved(self._journal.restore(id))
        except DiffsegError:
            return False
        if saved:
            self._journal.discard(id)
        return saved

    def ask(self, found: Sequence[JournalLeftover]) -> None:
        """Ask what to do with these; what is not answered stays."""
        if not found:
            return
        today = self._now()
        lines = [
            Leftover(one.id, one.name, when_text(one.when, today), one.voxels)
            for one in found
        ]
        answers = self._view.ask_recover(lines)
        for id, take in (answers or {}).items():
            try:
                if take:
                    self._take_up(id)
                else:
                    self._journal.discard(id)
            except (DiffsegError, OSError) as error:
                self._notices.show(told(error), "error")

    def _take_up(self, id: str) -> None:
        """Open the image again, put the mask into it, and only then let go."""
        restored = self._journal.restore(id)
        if restored.origin is not None and self.take_up is not None:
            self.take_up(restored, lambda case: self._put(case, restored, id))
            return
        if not restored.paths:
            self._into_layer(restored, id)
            return
        there = self._opener.find(restored.paths, restored.series)
        if there is not None:
            self._put(there, restored, id)
            return
        self._opener.read(
            restored.paths,
            lambda volume: self._open(volume, restored, id),
            series=restored.series,
            frame=restored.frame,
        )

    def _open(self, volume: Volume, restored: Restored, id: str) -> None:
        there = self._opener.find(restored.paths, restored.series)
        if there is None:
            if misfit := _misfit(volume.name, volume.grid, restored):
                self._notices.show(misfit, "error")
                return
            if restored.grid.has_spacing and not volume.grid.has_spacing:
                # The annotator had given it by hand.
                volume = replace(volume, grid=restored.grid)
                volume = volume.with_warnings(GIVEN_BY_HAND)
            there = self._opener.make(
                volume,
                table=restored.table,
                labels=restored.labels,
                frame=restored.frame,
            )
        self._put(there, restored, id)

    def _put(self, case: Case, restored: Restored, id: str) -> None:
        note = case.annotation
        if misfit := _misfit(case.name, case.volume.grid, restored):
            self._notices.show(misfit, "error")
            return
        if case.locked:
            return  # told when it was opened; the leftover stays
        if note.touched.any() and (case.entry is None or case.unsaved):
            self._notices.show(
                f"{case.name} has strokes of its own; close it without them to take "
                "up the earlier ones, which are kept",
                "warning",
            )
            return
        case.table, case.labels = restored.table, restored.labels
        self._note_model(case)
        self._journal.replace(case.id, table=case.table, labels=case.labels)
        self._session.change(case, "table")
        self._session.change(case, "labels")
        # In place, and no step of its own: undone and done again, it would be as if
        # nobody had drawn it.
        note.values[...] = restored.values
        note.touched[...] = restored.touched
        if restored.proposed is not None or case.entry is None:
            note.proposed = restored.proposed
        if case.entry is not None and restored.origin is not None:
            case.entry.origin = restored.origin
            self._journal.replace(case.id, origin=restored.origin)
        case.given = _given(restored)
        case.unsaved = True
        case.edits += 1
        self._canvas.forget_history(case)
        self._canvas.show_table(case)
        if case is self._session.current:
            self._canvas.look_at(case)
        self._journal.note(case.id)
        self._session.change(case, "mask")
        if self._journal.flush(case.id):
            self._journal.discard(id)
        touched = int(np.count_nonzero(restored.touched))
        word = voxel_word(case.volume)
        are = "is" if touched == 1 else "are"
        said = f"{case.name}: {counted(touched, word)} that you drew {are} back"
        self._notices.show(
            "; ".join([said, *restored.warnings]),
            "warning" if restored.warnings else "info",
        )

    def _into_layer(self, restored: Restored, id: str) -> None:
        """Put a mask onto an image that is no file: open now, or added later."""
        case = next((x for x in self._session.cases if _is_of(x, restored)), None)
        if case is not None:
            self._put(case, restored, id)
            return
        if id not in self._waiting:
            self._waiting.append(id)
        said = (
            f"the strokes on {restored.name} belong to an image that was no file: add "
            "it to the viewer under this name, and they are put there"
        )
        raise UserError("; ".join([said, *restored.warnings]))

    def _on_added(self, case: Case) -> None:
        for id in self._waiting if not case.volume.source.paths else ():
            try:
                restored = self._journal.restore(id)
                if not _is_of(case, restored):
                    continue
                self._waiting.remove(id)
                self._put(case, restored, id)
            except (DiffsegError, OSError) as error:
                self._notices.show(told(error), "error")
            return

    def _note_model(self, case: Case) -> None:
        """Whose values the table has, as far as that can be told."""
        model = self._session.model
        mine = model is not None and model.labels == case.table
        case.table_model = key_of(model) if mine and model else ""
        case.model_table = case.table if mine else None


def when_text(when: datetime, now: datetime) -> str:
    """Tell a time as people do: "today 14:03", "yesterday 09:15", "12 Mar 14:03"."""
    local = when.astimezone().replace(tzinfo=None) if when.tzinfo else when
    today = now.astimezone().replace(tzinfo=None) if now.tzinfo else now
    days = (today.date() - local.date()).days
    if days == 0:
        return f"today {local:%H:%M}"
    if days == 1:
        return f"yesterday {local:%H:%M}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {local:%H:%M}"


def _given(restored: Restored) -> NDArray[np.uint8] | None:
    """What was neither drawn nor proposed: read from a mask to be corrected."""
    values, proposed = restored.values, restored.proposed
    before = np.zeros_like(values) if proposed is None else proposed
    there = ~restored.touched & (values != before)
    if not there.any():
        return None
    given = np.where(there, values, np.uint8(0))
    given.setflags(write=False)
    return given


def _is_of(case: Case, restored: Restored) -> bool:
    """Whether a case's image came without a file, as the mask's did, and fits it."""
    volume = case.volume
    same = restored.name in (case.name, volume.name)
    return same and not volume.source.paths and volume.shape == restored.values.shape


def _misfit(name: str, grid: Grid, restored: Restored) -> str:
    """Why a mask does not lie on an image; "" where it does."""
    if grid.shape != restored.values.shape:
        what = "is of another size than"
    elif not grid.same_as(restored.grid):
        what = "lies otherwise in space than"
    else:
        return ""
    return (
        f"{name} {what} the mask that was kept for it; put the image back that it was "
        "drawn on (the strokes are kept)"
    )
