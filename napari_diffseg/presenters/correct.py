"""Correcting: the tool in hand, the brush, and what is kept on disk."""

from __future__ import annotations

from datetime import datetime

from napari_diffseg.presenters.ports import InGui, JournalPort
from napari_diffseg.presenters.words import voxel_word
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, CorrectView, Notices, Tool

_VOXELS = 2.0  # radius of the first brush, in voxels of the slice


class CorrectPresenter:
    """Panel "Correct".

    Parameters
    ----------
    session : Session
    view : CorrectView
    canvas : Canvas
    journal : JournalPort
    notices : Notices
    in_gui : InGui
        The journal speaks in its own thread.
    """

    def __init__(
        self,
        session: Session,
        view: CorrectView,
        canvas: Canvas,
        journal: JournalPort,
        notices: Notices,
        in_gui: InGui,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._notices = notices
        self._radius: dict[str, float] = {}  # by unit: mm is not a pixel
        self._three_d = False
        self._kept: dict[str, datetime] = {}
        view.tool_chosen.connect(canvas.set_tool)
        view.brush_changed.connect(self.set_brush)
        view.brush_3d_toggled.connect(self.set_three_d)
        view.undo_requested.connect(canvas.undo)
        view.redo_requested.connect(canvas.redo)
        view.hide_toggled.connect(canvas.set_hidden)
        canvas.tool_changed.connect(self._on_tool)
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(self._on_removed)
        journal.on_kept = lambda case_id, when: in_gui(lambda: self.kept(case_id, when))
        journal.on_trouble = lambda line: in_gui(lambda: self._trouble(line))
        self._on_current(session.current)

    def set_brush(self, radius: float) -> None:
        """Paint with this radius, in mm (voxels without millimetres)."""
        case = self._session.current
        if case is not None and radius > 0:
            self._radius[case.display.unit] = radius
            self._canvas.set_brush(case, radius, self._three_d)

    def set_three_d(self, three_d: bool) -> None:
        """Paint a ball, or a disc in the slice."""
        self._three_d = three_d
        case = self._session.current
        if case is not None:
            self._canvas.set_brush(case, self._radius_of(case), three_d)

    def kept(self, case_id: str, when: datetime) -> None:
        """Say up to when a case's strokes are on disk."""
        if self._session.case(case_id) is not None:
            self._kept[case_id] = when
            self._show_kept()

    def _trouble(self, line: str) -> None:
        self._notices.show(f"strokes are not kept on disk: {line}", "error")
        self._view.show_saved("not kept on disk")

    def _radius_of(self, case: Case) -> float:
        unit = case.display.unit
        if unit not in self._radius:
            steps = list(case.display.scale)
            steps.pop(case.display.slice_axis)
            self._radius[unit] = max(round(_VOXELS * max(steps) * 2) / 2, 0.1)
        return self._radius[unit]

    def _on_tool(self, tool: Tool) -> None:
        self._view.set_tool(tool)

    def _on_current(self, case: Case | None) -> None:
        if case is None:
            self._view.set_enabled(False, "open an image first")
        elif case.locked:
            self._view.set_enabled(False, case.locked)
        else:
            self._view.set_enabled(True, "")
        if case is not None:
            self._show_brush(case)
        self._show_kept()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect == "geometry" and case is self._session.current:
            self._show_brush(case)

    def _on_removed(self, case: Case) -> None:
        self._kept.pop(case.id, None)

    def _show_brush(self, case: Case) -> None:
        radius = self._radius_of(case)
        volume = case.volume
        word = voxel_word(volume)
        unit = "mm" if volume.grid.has_spacing else f"{word}s"
        self._view.set_brush(radius, unit)
        self._canvas.set_brush(case, radius, self._three_d)

    def _show_kept(self) -> None:
        case = self._session.current
        when = self._kept.get(case.id) if case else None
        self._view.show_saved(f"saved on disk {when:%H:%M:%S}" if when else "")
