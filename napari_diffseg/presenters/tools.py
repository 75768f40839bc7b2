"""Tools of the panel "Correct": previewed, made as one step, dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from diffseg.domain import Change
from diffseg.errors import UserError
from diffseg.volume.windows import auto_window
from napari_diffseg.presenters.editing import errand, name_of, others
from napari_diffseg.presenters.ports import Background, told
from napari_diffseg.presenters.result import members_of
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.session import Case, Session
from napari_diffseg.views import (
    BrushRange,
    Canvas,
    CorrectView,
    Edit,
    EditState,
    Intent,
    Target,
)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A change that is shown, not made yet: of which case, and by what."""

    case: Case
    edit: Edit
    change: Change


class ToolsPresenter:
    """The tools of panel "Correct".

    A change is computed beside the window's thread, and only made in the mask that it
    was computed for: where somebody painted meanwhile, it is computed again.

    Parameters
    ----------
    session : Session
    view : CorrectView
    canvas : Canvas
    background : Background
        Where changes are computed.
    active : callable
        Value of the structure in hand.
    chosen : Intent
        Tells that another structure is taken into the hand.
    """

    def __init__(
        self,
        session: Session,
        view: CorrectView,
        canvas: Canvas,
        background: Background,
        active: Callable[[], int],
        chosen: Intent,
    ) -> None:
        self._session, self._view, self._canvas = session, view, canvas
        self._background, self._active = background, active
        self._shown: Shown | None = None
        self._range = BrushRange()
        self._turn = 0  # raised by all that makes an answer on its way too late
        self._target: tuple[str | None, Target] = (None, Target())
        view.preview_requested.connect(self.preview)
        view.apply_requested.connect(self.apply)
        view.edit_dropped.connect(self.drop)
        view.edit_changed.connect(self._on_edit)
        view.range_changed.connect(self.set_range)
        chosen.connect(lambda value: self.show_target())
        canvas.label_changed.connect(lambda value: self.show_target())
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        canvas.dirty.connect(self._on_dirty)
        self._on_current(session.current)

    def preview(self, edit: Edit) -> None:
        """Show what a tool would change."""
        self._start(edit, self._show)

    def apply(self, edit: Edit) -> None:
        """Change the mask; at once where the very change is shown already."""
        shown = self._shown
        if shown is not None and shown.edit == edit:
            self._make(shown)
        else:
            self._start(edit, self._make)

    def drop(self) -> None:
        """Show no change any more, and wait for none."""
        self._let_go()
        self._view.show_edit(EditState())

    def set_range(self, wanted: BrushRange) -> None:
        """Let brushes paint these intensities only."""
        self._range = wanted
        self._canvas.set_range(wanted)

    def show_target(self) -> None:
        """Show what tools work on."""
        case = self._session.current
        target = Target() if case is None else _target(case, self._active())
        before, self._target = self._target, (case.id if case else None, target)
        if before != self._target:
            if self._shown is not None or before[0] != self._target[0]:
                self.drop()
            self._view.set_target(target)

    def _start(self, edit: Edit, then: Callable[[Shown], None]) -> None:
        """Compute a change, and go on with it unless it comes too late."""
        case = self._session.current
        if case is None or case.locked:
            return
        self._let_go()
        turn, edits = self._turn, case.edits
        try:
            job = errand(
                case,
                edit,
                self._active(),
                self._canvas.slice_axis(case),
                self._canvas.slice_region(case),
                self._canvas.voxel_at_hand(case),
                self._canvas.box_region(case),
            )
        except UserError as error:
            self._fail(turn, error)
            return
        self._view.show_edit(EditState("working…", busy=True))

        def done(change: Change) -> None:
            if turn != self._turn:
                return
            if case.edits != edits:  # somebody painted meanwhile
                self._start(edit, then)
            else:
                then(Shown(case, edit, change))

        self._background(job.run, done, lambda error: self._fail(turn, error))

    def _show(self, shown: Shown) -> None:
        if not len(shown.change):
            self._view.show_edit(EditState(_unchanged(shown)))
            return
        self._shown = shown
        self._canvas.show_edit(shown.case, shown.change)
        said = _in_words(shown, "add", "remove", (" (green)", " (red)"))
        said = f"would {said}"
        self._view.show_edit(EditState(said, "info", shown=True))

    def _make(self, shown: Shown) -> None:
        self._let_go()
        if len(shown.change):
            self._canvas.correct(shown.case, shown.change)
            said = _in_words(shown, "added", "removed")
        else:
            said = "nothing has changed"
        self._view.show_edit(EditState(said))

    def _fail(self, turn: int, error: Exception) -> None:
        if turn == self._turn:
            self._view.show_edit(EditState(told(error), "warning"))

    def _let_go(self) -> None:
        self._turn += 1
        shown, self._shown = self._shown, None
        if shown is not None:
            self._canvas.end_edit(shown.case.id)

    def _on_edit(self, edit: Edit | None) -> None:
        """Another tool drops what is shown; another setting shows that."""
        shown = self._shown
        if edit is not None and shown is not None and shown.edit.tool == edit.tool:
            self.preview(edit)
        else:
            self.drop()

    def _on_dirty(self, case_id: str) -> None:
        if self._shown is not None and self._shown.case.id == case_id:
            self._let_go()
            self._view.show_edit(EditState("the mask has changed since; preview again"))

    def _on_current(self, case: Case | None) -> None:
        self.show_target()
        if case is not None:
            window = auto_window(case.volume.data[0])
            low, high = float(window.low), float(window.high)
            self.set_range(replace(self._range, low=low, high=high))
            self._view.set_range(self._range)

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is self._session.current and aspect in (
            "table",
            "proposal",
            "geometry",
        ):
            self.show_target()


def _target(case: Case, active: int) -> Target:
    values = [active, *(v for v in case.table.values if v != active)]
    grid = case.volume.grid
    word = voxel_word(case.volume)
    return Target(
        name_of(case.table, active) if active else "",
        tuple(others(case, active)),
        tuple((value, name_of(case.table, value)) for value in values),
        "mm" if grid.has_spacing else f"{word}s",
        1 in grid.shape,
        members_of(case.proposal),
    )


def _unchanged(shown: Shown) -> str:
    alone = len(shown.case.table.values) < 2
    if alone or shown.edit.over or shown.edit.tool == "member":
        return "nothing would change"
    return "nothing would change: other structures stay, unless “Over others” is ticked"


def _in_words(
    shown: Shown, add: str, remove: str, colours: tuple[str, str] = ("", "")
) -> str:
    """How much is added and removed: "adds 1,234 voxels, removes 56"."""
    case, change = shown.case, shown.change
    word = voxel_word(case.volume)
    added = int(np.count_nonzero(change.after))
    counts = (added, len(change) - added)
    parts: list[str] = []
    for verb, number, colour in zip((add, remove), counts, colours, strict=True):
        if number:
            many = f"{number:,}" if parts else counted(number, word)
            parts.append(f"{verb} {many}{colour}")
    return ", ".join(parts)
