"""One cursor for the main canvas and the planes beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components.viewer_model import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer

from napari_diffseg.layers.places import PLANES, Point, shown_index, world_point
from napari_diffseg.session import Case
from napari_diffseg.widgets.orthogonal import OrthogonalViews

_FRAME_MS = 16


class Link:
    """Keeps a viewer and its orthogonal views at one cursor and of one look.

    The cursor moves with the sliders, with a drag in a view, with a press in the
    canvas, and with the mouse over the canvas while Shift is held. Each side is told
    at most once a frame.

    Parameters
    ----------
    viewer : napari.Viewer
    views : OrthogonalViews
    point_at : callable, optional
        Takes a case and a shown index that the user pointed at in a view, and makes
        the canvas show it; without it the viewer's ``dims.point`` is set.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        views: OrthogonalViews,
        point_at: Callable[[Case, Point], None] | None = None,
    ) -> None:
        self._viewer, self._views = viewer, views
        self._point_at = point_at or self._set_point
        self._telling = False
        self._wanted: Point | None = None
        self._known: tuple[float, ...] = ()
        self._followed: list[tuple[Any, Any]] = []
        self._to_views = _timer(views, self._tell_views)
        self._to_viewer = _timer(views, self._tell_viewer)
        views.cursor_moved.connect(self._want)
        views.case_shown.connect(self._start_afresh)
        viewer.dims.events.point.connect(self._on_point)
        for event in (viewer.dims.events.order, viewer.dims.events.ndim):
            event.connect(self._on_plane)
        viewer.mouse_move_callbacks.append(self._on_mouse_move)
        viewer.mouse_drag_callbacks.append(self._on_press)
        self._on_plane()
        self._start_afresh()

    def follow(
        self, image: Image | None, mask: Labels | None, lines: Labels | None = None
    ) -> None:
        """Take window, outline, opacity and visibility from a case's layers.

        `lines` is its layer of contours, shown in place of the mask while seen.
        """
        self._let_go()
        if image is not None:
            self._connect(image.events.contrast_limits, lambda: self._window(image))
            self._window(image)
        if mask is not None:
            for name in ("contour", "opacity", "visible"):
                self._connect(
                    getattr(mask.events, name), lambda: self._look(mask, lines)
                )
            if lines is not None:
                for name in ("visible", "data"):
                    self._connect(
                        getattr(lines.events, name), lambda: self._look(mask, lines)
                    )
            self._look(mask, lines)

    def close(self) -> None:
        """Let go of viewer and views."""
        self._let_go()
        self._to_views.stop()
        self._to_viewer.stop()
        self._views.cursor_moved.disconnect(self._want)
        self._views.case_shown.disconnect(self._start_afresh)
        dims = self._viewer.dims.events
        dims.point.disconnect(self._on_point)
        dims.order.disconnect(self._on_plane)
        dims.ndim.disconnect(self._on_plane)
        self._viewer.mouse_move_callbacks.remove(self._on_mouse_move)
        self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _connect(self, event: Any, slot: Any) -> None:
        # napari hands the event over where a slot takes an argument; ours take none.
        event.connect(slot)
        self._followed.append((event, slot))

    def _let_go(self) -> None:
        for event, slot in self._followed:
            event.disconnect(slot)
        self._followed.clear()

    def _window(self, image: Image) -> None:
        low, high = image.contrast_limits
        self._views.set_window(float(low), float(high))

    def _look(self, mask: Labels, lines: Labels | None) -> None:
        levels = lines.data if lines is not None and lines.visible else None
        self._views.set_contours(levels)
        self._views.set_outline(mask.contour > 0)
        self._views.set_opacity(float(mask.opacity))
        self._views.set_hidden(not mask.visible and levels is None)

    def _want(self, plane: float, row: float, column: float) -> None:
        self._wanted = (plane, row, column)
        if not self._to_viewer.isActive():
            self._to_viewer.start()

    def _tell_viewer(self) -> None:
        case, wanted = self._views.case, self._wanted
        if case is None or wanted is None:
            return
        self._telling = True
        try:
            self._point_at(case, wanted)
        finally:
            self._telling = False
        self._known = self._viewer.dims.point

    def _set_point(self, case: Case, shown: Point) -> None:
        dims = self._viewer.dims
        if dims.ndim >= 3:
            axes = range(dims.ndim - 3, dims.ndim)
            dims.set_point(list(axes), list(world_point(case.display, shown)))

    def _start_afresh(self) -> None:
        self._known = ()
        self._to_views.start()

    def _on_point(self, event: Any = None) -> None:
        # What we told the viewer comes back late; the user's hand is further on.
        if not self._telling and not self._to_views.isActive():
            self._to_views.start()

    def _tell_views(self) -> None:
        """Take over what has moved; a press in the canvas moves no slider."""
        case, point = self._views.case, self._viewer.dims.point
        shown = None if case is None else shown_index(case.display, point)
        if shown is None:
            return
        if len(self._known) == len(point):
            moved = [new != old for new, old in zip(point, self._known, strict=True)]
            k, j, i = (
                new if has_moved else old
                for new, old, has_moved in zip(
                    shown, self._views.cursor_index, moved[-3:], strict=True
                )
            )
            shown = (k, j, i)
        self._known = point
        self._views.set_cursor(shown)

    def _on_plane(self, event: Any = None) -> None:
        dims = self._viewer.dims
        axis = dims.order[-3] - (dims.ndim - 3) if dims.ndim >= 3 else 0
        if axis in range(3):
            self._views.set_main_plane(PLANES[axis])

    def _on_mouse_move(self, viewer: ViewerModel, event: Any) -> None:
        if "Shift" in event.modifiers:
            self._follow_mouse(event)

    def _on_press(self, viewer: ViewerModel, event: Any) -> None:
        if event.button == 1:
            self._follow_mouse(event)

    def _follow_mouse(self, event: Any) -> None:
        case = self._views.case
        shown = None if case is None else shown_index(case.display, event.position)
        if shown is not None and self._viewer.dims.ndisplay == 2:
            self._views.set_cursor(shown)


def _timer(parent: OrthogonalViews, slot: Any) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(_FRAME_MS)
    timer.timeout.connect(slot)
    return timer
