"""The other planes of a case, beside the main canvas and linked to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QLabel, QWidget

from diffseg.volume.windows import auto_window
from napari_diffseg.layers.places import snapped
from napari_diffseg.session import Case
from napari_diffseg.views import Plane
from napari_diffseg.widgets.panes import PlanePane
from napari_diffseg.widgets.pictures import Look
from napari_diffseg.widgets.plate import Plate

_EMPTY = "The other planes of an image appear here."
_SINGLE = "A single slice: it has no other planes."
_REFRESH_MS = 40
_LEAST_WIDTH = 160


class OrthogonalViews(QWidget):
    """The planes that the main canvas does not show; click, drag, wheel, double click.

    Slices are painted by the widget itself and only while it can be seen. It changes
    nothing of a case: it tells where the cursor was moved to.

    Signals
    -------
    cursor_moved : float, float, float
        Shown index (plane, row, column) that the user pointed at.
    plane_chosen : str
        Plane that the main canvas shall show.
    case_shown : no argument
        Another case is shown, its cursor in the middle.
    """

    cursor_moved = Signal(float, float, float)
    plane_chosen = Signal(str)
    case_shown = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg.views")
        self.setMinimumWidth(_LEAST_WIDTH)
        self._case: Case | None = None
        self._main: Plane = "axial"
        self._three = False
        self._look = Look()
        self._cursor = (0.0, 0.0, 0.0)
        self.panes = tuple(PlanePane(axis, self) for axis in range(3))
        self._words = QLabel(_EMPTY, self)
        self._words.setObjectName("diffseg.views.empty")
        self._words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._words.setWordWrap(True)
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(3)
        self._box.addWidget(self._words, 1)
        for pane in self.panes:
            self._box.addWidget(pane, 1)
            pane.cursor_moved.connect(self._move)
            pane.plane_chosen.connect(self.plane_chosen)
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(_REFRESH_MS)
        self._late.timeout.connect(self._refresh_now)
        self._arrange()

    @property
    def case(self) -> Case | None:
        """The case that is shown."""
        return self._case

    @property
    def cursor_index(self) -> tuple[float, float, float]:
        """Shown index (plane, row, column) of the cursor."""
        return self._cursor

    @property
    def look(self) -> Look:
        """How slices are shown."""
        return self._look

    def show_case(self, case: Case | None) -> None:
        """Show a case, its cursor in the middle; or the empty state."""
        self._case = case
        plate = None if case is None else Plate.of(case)
        for pane in self.panes:
            pane.show_plate(plate)
        if case is not None:
            k, j, i = ((size - 1) // 2 for size in case.display.shown.shape)
            self.set_cursor((k, j, i))
            window = auto_window(case.volume.data[0])
            self.set_window(window.low, window.high)
        self._arrange()
        self.case_shown.emit()

    def set_cursor(self, shown_index: tuple[float, float, float]) -> None:
        """Show the slices at the voxel of a shown index; tells no intent."""
        if self._case is not None:
            shown_index = snapped(self._case.display, shown_index)
        self._cursor = shown_index
        for pane in self.panes:
            pane.set_cursor(shown_index)

    def set_window(self, low: float, high: float) -> None:
        """Show intensities from `low` to `high`."""
        self._set_look(replace(self._look, low=low, high=high))

    def set_radiological(self, radiological: bool) -> None:
        """Patient's right on the left of the screen, or on the right."""
        self._set_look(replace(self._look, radiological=radiological))

    def set_outline(self, outline: bool) -> None:
        """Show the mask as an outline, or filled."""
        self._set_look(replace(self._look, outline=outline))

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the mask in [0, 1]."""
        self._set_look(replace(self._look, opacity=min(max(opacity, 0.0), 1.0)))

    def set_hidden(self, hidden: bool) -> None:
        """Hide all that lies on the image."""
        self._set_look(replace(self._look, hidden=hidden))

    def set_uncertainty(self, shown: bool) -> None:
        """Lay the latest proposal's uncertainty on the image."""
        self._set_look(replace(self._look, uncertainty=shown))

    def set_contours(self, levels: NDArray[np.uint8] | None) -> None:
        """Show how far members reach in place of the mask; the mask without them.

        Parameters
        ----------
        levels : (Z, Y, X) uint8 ndarray, optional
            On the shown axes: 1, 2, 3 where 5 %, 50 %, 95 % of the members see a
            structure.
        """
        for pane in self.panes:
            pane.show_levels(levels)
        self._set_look(replace(self._look, contours=levels is not None))

    def set_main_plane(self, plane: Plane) -> None:
        """Leave out the plane that the main canvas shows."""
        self._main = plane
        self._arrange()

    def set_three(self, three: bool) -> None:
        """Show all three planes, or only the two that the main canvas does not."""
        self._three = three
        self._arrange()

    def refresh(self) -> None:
        """Voxels, colours or the proposal have changed: paint anew, soon and once."""
        if not self._late.isActive():
            self._late.start()

    def _refresh_now(self) -> None:
        for pane in self.panes:
            pane.refresh()

    def _move(self, plane: float, row: float, column: float) -> None:
        self.set_cursor((plane, row, column))
        self.cursor_moved.emit(*self._cursor)

    def _set_look(self, look: Look) -> None:
        self._look = look
        for pane in self.panes:
            pane.set_look(look)

    def _arrange(self) -> None:
        """Show the planes that have an area and are not in the main canvas."""
        flat = [True] * 3
        if self._case is not None:
            shape = self._case.display.shown.shape
            flat = [
                shape[pane.rows] == 1 or shape[pane.columns] == 1 for pane in self.panes
            ]
        for pane, is_flat in zip(self.panes, flat, strict=True):
            in_main = pane.plane == self._main and not self._three
            pane.setVisible(not is_flat and not in_main)
        self._words.setText(_EMPTY if self._case is None else _SINGLE)
        self._words.setVisible(all(pane.isHidden() for pane in self.panes))

    def sizeHint(self) -> QSize:
        """Two planes, one above the other."""
        return QSize(270, 540)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Put planes side by side where there is more width than height."""
        wide = self.width() > self.height()
        directions = QBoxLayout.Direction
        self._box.setDirection(
            directions.LeftToRight if wide else directions.TopToBottom
        )
        if event is not None:
            super().resizeEvent(event)
