"""What napari's menus and its command palette call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffseg.errors import UserError
from napari_diffseg.plugin.settings import into_environment, read_settings

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_diffseg.plugin.window import Window


def dock() -> QWidget:
    """Make the panels for the current viewer; napari docks them."""
    viewer, window = assembled()
    if frame_of(window.dock) is not None:  # a widget lives in one frame only
        viewer.window.remove_dock_widget(window.dock)
    return window.dock


def propose() -> None:
    """Propose a mask for the current case, opening the panels where needed."""
    opened().dock.propose.run_requested.emit()


def next_place() -> None:
    """Go to the next place that deserves a look."""
    opened().dock.review.next_requested.emit()


def export_mask() -> None:
    """Export the current case's mask to where the panel says."""
    opened().dock.export.run_requested.emit()


def opened() -> Window:
    """The window of the current viewer, with its panels in sight."""
    from napari_diffseg.plugin.window import dock_into

    viewer, window = assembled()
    if frame_of(window.dock) is None:
        dock_into(viewer, window)
    frame = frame_of(window.dock)
    if frame is not None:
        frame.show()
        frame.raise_()
    return window


def assembled() -> tuple[napari.Viewer, Window]:
    """The current viewer and its window, made with the user's settings."""
    from napari_diffseg.plugin.window import assemble

    viewer = current_viewer()
    into_environment(read_settings())
    return viewer, assemble(viewer)


def frame_of(widget: QWidget) -> QWidget | None:
    """The frame that `widget` is docked in, or None."""
    from qtpy.QtWidgets import QDockWidget

    above = widget.parentWidget()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above


def current_viewer() -> napari.Viewer:
    """The viewer in front.

    Raises
    ------
    UserError
        There is none: the panels live in a window.
    """
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        raise UserError("no napari window is open; open one first: diffseg gui")
    return viewer
