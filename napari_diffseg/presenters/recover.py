"""After a crash: what an earlier window left behind is offered, and put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.errors import DiffsegError, UserError
from diffseg.project.annotation import proposed_change
from diffseg.volume import Volume
from napari_diffseg.presenters.opening import Opener
from napari_diffseg.presenters.ports import JournalPort, Restored, told
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, Leftover, Notices, RecoverView


class RecoverPresenter:
    """The question after a crash, and its answer.

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

    def start(self) -> None:
        """Ask, if there is something to ask; what is not answered stays."""
        found = tuple(self._journal.leftovers())
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
        for line in restored.warnings:
            self._notices.show(line, "warning")
        if not restored.paths:
            raise UserError(
                "the strokes belong to an image that was no file; they are kept, and "
                "offered again at the next start"
            )
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
        if there is None and volume.shape == restored.values.shape:
            if restored.grid.has_spacing and not volume.grid.has_spacing:
                # The annotator had given it by hand.
                volume = replace(volume, grid=restored.grid)
            there = self._opener.make(
                volume,
                table=restored.table,
                labels=restored.labels,
                frame=restored.frame,
            )
        if there is None:
            self._notices.show(_other_size(volume.name), "error")
            return
        self._put(there, restored, id)

    def _put(self, case: Case, restored: Restored, id: str) -> None:
        note = case.annotation
        if restored.values.shape != note.values.shape:
            self._notices.show(_other_size(case.name), "error")
            return
        if case.locked:
            return  # told when it was opened; the leftover stays
        if note.touched.any():
            self._notices.show(
                f"{case.name} has strokes of its own; close it without them to take "
                "up the earlier ones, which are kept",
                "warning",
            )
            return
        case.table, case.labels = restored.table, restored.labels
        case.table_model = self._model_of(restored.table)
        self._journal.replace(case.id, table=case.table, labels=case.labels)
        self._session.change(case, "table")
        self._session.change(case, "labels")
        self._canvas.show_table(case)
        change = proposed_change(note, restored.values, replace_touched=True)
        self._canvas.apply(case, change)
        note.touched |= restored.touched
        note.proposed = restored.proposed
        case.given = _given(restored)
        case.unsaved = True
        self._journal.note(case.id)
        self._session.change(case, "mask")
        if self._journal.flush(case.id):
            self._journal.discard(id)
        touched = int(np.count_nonzero(restored.touched))
        self._notices.show(f"{case.name}: {touched:,} voxels that you drew are back")

    def _model_of(self, table: LabelTable) -> str:
        model = self._session.model
        return model.id if model is not None and model.labels == table else ""


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


def _other_size(name: str) -> str:
    return (
        f"{name} is of another size than the mask that was kept for it; put the "
        "image back that it was drawn on (the strokes are kept)"
    )
