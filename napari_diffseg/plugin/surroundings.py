"""What lies around the panels: the other planes, letters, status line and keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QAbstractButton, QDockWidget, QMainWindow, QWidget

from napari_diffseg.layers.letters import OrientationLetters
from napari_diffseg.plugin.widths import Widths
from napari_diffseg.session import Busy, Case
from napari_diffseg.views import Shown
from napari_diffseg.widgets.keys import Keys
from napari_diffseg.widgets.keys_page import KeysPage
from napari_diffseg.widgets.linking import Link
from napari_diffseg.widgets.orthogonal import OrthogonalViews
from napari_diffseg.widgets.status import StatusLine

if TYPE_CHECKING:
    import napari

    from napari_diffseg.layers.canvas import NapariCanvas
    from napari_diffseg.presenters.desk import Desk
    from napari_diffseg.widgets.dock import Dock

PLANES = "Planes"
LANES = "Labels by slice"


class Surroundings(QObject):
    """Follows one session around the panels; decides nothing.

    Parameters
    ----------
    viewer : napari.Viewer
    dock : Dock
        Its controls are what keys press.
    canvas : NapariCanvas
    desk : Desk
    """

    def __init__(
        self, viewer: napari.Viewer, dock: Dock, canvas: NapariCanvas, desk: Desk
    ) -> None:
        super().__init__(dock)
        self._viewer, self._dock, self._canvas = viewer, dock, canvas
        session = self._session = desk.session
        self._labels, self._result = desk.labels, desk.result
        self.views = OrthogonalViews()
        self.link = Link(viewer, self.views, canvas.go_to_index)
        self.letters = OrientationLetters(viewer)
        self.status = StatusLine(viewer, session)
        self.keys: Keys | None = None
        self._page: KeysPage | None = None
        self._before: Shown = "mask"
        self._pending = False
        self._widths: Widths | None = None
        self._open = True
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        session.busy_changed.connect(self._on_busy)
        canvas.dirty.connect(self._on_edited)
        canvas.edited.connect(self._on_edited)
        canvas.moved.connect(self._on_moved)
        viewer.layers.events.inserted.connect(self._follow)
        viewer.layers.events.removed.connect(self._follow)
        self.views.plane_chosen.connect(dock.case.plane_chosen)
        dock.case.radiological_toggled.connect(self.views.set_radiological)
        dock.result.view_chosen.connect(self._on_view)
        dock.help_requested.connect(self.show_keys)
        dock.correct.pending_changed.connect(self._on_pending)
        self._on_current(session.current)

    def place(self) -> None:
        """Dock the planes between canvas and panels, and bind the keys."""
        if self.keys is not None or not self._open:
            return
        self._viewer.window.add_dock_widget(
            self.views, name=PLANES, area="right", allowed_areas=["right", "bottom"]
        )
        docks = self._docks()
        if docks is not None:
            main, planes, panels = docks
            main.splitDockWidget(planes, panels, Qt.Orientation.Horizontal)
            self._widths = Widths(
                main,
                (planes, panels),
                (self.views.sizeHint().width(), self._dock.sizeHint().width()),
            )
        self._viewer.window.add_dock_widget(
            self._dock.presence.lanes, name=LANES, area="bottom"
        )
        self._dock.presence.lanes_wanted.connect(self._show_lanes)
        # Later: napari is still placing the dock.
        QTimer.singleShot(0, self._place_lanes)
        self.keys = Keys(self._viewer, self._actions(), self._dock)

    def _docks(self) -> tuple[QMainWindow, QDockWidget, QDockWidget] | None:
        """The main window with the docks of the planes and the panels."""
        main = self._dock.window()
        planes, panels = _dock_of(self.views), _dock_of(self._dock)
        if not isinstance(main, QMainWindow) or planes is None or panels is None:
            return None
        return main, planes, panels

    def _place_lanes(self) -> None:
        if self._open:
            self._show_lanes(self._dock.presence.lanes.count > 1)

    def _show_lanes(self, wanted: bool) -> None:
        """Show labels by slice below the canvas, or give their room to it."""
        frame = _dock_of(self._dock.presence.lanes)
        if frame is not None and frame.isHidden() == wanted:
            frame.setVisible(wanted)

    def close(self) -> None:
        """Let go of viewer and session."""
        if not self._open:
            return
        self._open = False
        if self._widths is not None:
            self._widths.stop()
        session, canvas = self._session, self._canvas
        session.current_changed.disconnect(self._on_current)
        session.case_changed.disconnect(self._on_changed)
        session.busy_changed.disconnect(self._on_busy)
        canvas.dirty.disconnect(self._on_edited)
        canvas.edited.disconnect(self._on_edited)
        canvas.moved.disconnect(self._on_moved)
        self._viewer.layers.events.inserted.disconnect(self._follow)
        self._viewer.layers.events.removed.disconnect(self._follow)
        if self.keys is not None:
            self.keys.close()
        if self._page is not None:
            self._page.close()
            self._page.deleteLater()
        for part in (self.link, self.letters, self.status):
            part.close()

    def show_keys(self) -> None:
        """Show the page of keys over the window."""
        if self._page is None:
            self._page = KeysPage(self._dock.window())
        self._page.show_over()

    def _on_current(self, case: Case | None) -> None:
        self.views.show_case(case)
        self.letters.show(case.display if case is not None else None)
        self._follow()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is not self._session.current:
            return
        if aspect == "geometry":
            self._on_current(case)
        else:
            self.views.refresh()

    def _on_edited(self, case_id: str) -> None:
        self.views.refresh()

    def _on_moved(self) -> None:
        self._dock.case.set_plane(self._canvas.plane)

    def _on_busy(self, busy: Busy | None) -> None:
        self._arm()

    def _on_pending(self, pending: bool) -> None:
        self._pending = pending
        self._arm()

    def _arm(self) -> None:
        if self.keys is not None:
            self.keys.set_busy(self._pending or self._session.busy is not None)

    def _cancel(self) -> None:
        """Drop a change that is shown; else stop the proposal under way."""
        handle = "correct.drop" if self._pending else "propose.cancel"
        self._press(f"diffseg.{handle}")

    def _on_view(self, shown: Shown) -> None:
        self.views.set_uncertainty(shown == "uncertainty")

    def _follow(self, event: Any = None) -> None:
        case = self._session.current
        roles: dict[str, Any] = {}
        for layer in self._viewer.layers:
            ours = layer.metadata.get("diffseg", {})
            if case is not None and ours.get("case") == case.id:
                roles.setdefault(str(ours.get("role")), layer)
        image, mask, lines = (roles.get(r) for r in ("image", "mask", "contours"))
        self.link.follow(
            image if isinstance(image, Image) else None,
            mask if isinstance(mask, Labels) else None,
            lines if isinstance(lines, Labels) else None,
        )

    def _actions(self) -> Mapping[str, Callable[..., Any]]:
        press = partial(partial, self._press)
        turn = partial(partial, self._dock.case.plane_chosen.emit)
        return {
            "next_case": press("diffseg.project.next"),
            "previous_case": press("diffseg.project.previous"),
            "save": press("diffseg.project.save"),
            "done": press("diffseg.project.state.done"),
            "starts": self._dock.presence.starts_requested.emit,
            "ends": self._dock.presence.ends_requested.emit,
            "unsay": self._dock.presence.undo_requested.emit,
            "propose": press("diffseg.propose.run"),
            "cancel": self._cancel,
            "next_place": press("diffseg.review.next"),
            "previous_place": press("diffseg.review.previous"),
            "accept": press("diffseg.review.accept"),
            "lead": self._dock.review.lead_requested.emit,
            "resample": press("diffseg.correct.resample"),
            "next_label": partial(self._turn_label, 1),
            "previous_label": partial(self._turn_label, -1),
            "hide": self._dock.correct.hide_toggled.emit,
            "uncertainty": self._hold_uncertainty,
            "axial": turn("axial"),
            "coronal": turn("coronal"),
            "sagittal": turn("sagittal"),
            "outline": press("diffseg.result.outline"),
            "radiological": press("diffseg.case.radiological"),
            "help": self.show_keys,
        }

    def _press(self, handle: str) -> None:
        """Press a control as the mouse would: only where it can be pressed."""
        button = self._dock.findChild(QAbstractButton, handle)
        if button is not None and button.isEnabled():
            button.click()

    def _turn_label(self, by: int) -> None:
        case = self._session.current
        if case is None:
            return
        values = case.table.values
        here = self._labels.active
        at = values.index(here) if here in values else -by
        self._dock.labels.label_chosen.emit(values[(at + by) % len(values)])

    def _hold_uncertainty(self, held: bool) -> None:
        """Show the uncertainty while the key is down, then what was shown before."""
        if held:
            self._before = self._result.shown
        wanted: Shown = "uncertainty" if held else self._before
        self._dock.result.view_chosen.emit(wanted)


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock that napari has put a widget into."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent
