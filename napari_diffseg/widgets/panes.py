"""One plane of a case, painted by Qt alone: no OpenGL, no further viewer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffseg.layers.contours import nested_lines
from napari_diffseg.layers.places import PLANES
from napari_diffseg.widgets.pane_marks import paint_marks
from napari_diffseg.widgets.pictures import (
    Look,
    contour_colors,
    doubt_image,
    grey_image,
    label_colors,
    mask_image,
    outlined,
    stretched,
)
from napari_diffseg.widgets.plate import Plate

_OUTLINE_WIDTH = 1.5
_NOTCH = 120  # what a mouse wheel reports for one step
_EDGE = 6
_DASH = 4  # lengths of a dash to its width


class PlanePane(QWidget):
    """A slice across one shown axis, with crosshair, letters and its place in mm.

    Parameters
    ----------
    axis : int
        Shown axis that the slices lie across: 0 axial, 1 coronal, 2 sagittal.
    """

    cursor_moved = Signal(float, float, float)
    plane_chosen = Signal(str)

    def __init__(self, axis: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.axis = axis
        self.plane = PLANES[axis]
        self.rows, self.columns = (other for other in range(3) if other != axis)
        self.setObjectName(f"diffseg.views.{self.plane}")
        self.setAccessibleName(f"{self.plane} view")
        self.setToolTip(
            "Click or drag: move the cursor\nWheel: leaf through\n"
            "Double click: show this plane large"
        )
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        # Keys stay with the canvas.
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        policy = QSizePolicy.Policy.Expanding
        self.setSizePolicy(policy, policy)
        self.setMinimumSize(110, 110)
        self._plate: Plate | None = None
        self._look = Look()
        self._cursor = (0.0, 0.0, 0.0)
        self._grey: tuple[object, QImage] | None = None
        self._over: tuple[object, list[QImage]] | None = None
        self._edits = 0
        self._turned = 0

    @property
    def index(self) -> int:
        """Slice that is shown, as a shown index."""
        if self._plate is None:
            return 0
        last = int(self._plate.image.shape[self.axis]) - 1
        return min(max(round(self._cursor[self.axis]), 0), last)

    @property
    def mirrored(self) -> bool:
        """Whether columns run from right to left on the screen."""
        if self._plate is None or self._look.radiological:
            return False
        display = self._plate.case.display
        return display.sides_known and display.letters[self.columns] in ("L", "R")

    @property
    def frame(self) -> QRectF:
        """Where on the widget the slice lies: true to its millimetres, centred."""
        whole = QRectF(self.rect()).adjusted(_EDGE, _EDGE, -_EDGE, -_EDGE)
        if self._plate is None or whole.isEmpty():
            return QRectF(whole.center(), whole.center())
        shape, scale = self._plate.image.shape, self._plate.case.display.scale
        high = shape[self.rows] * scale[self.rows]
        wide = shape[self.columns] * scale[self.columns]
        zoom = min(whole.width() / wide, whole.height() / high)
        # On whole pixels a picture is copied, and not scaled anew at every painting.
        width, height = max(1, round(wide * zoom)), max(1, round(high * zoom))
        left = round(whole.center().x() - width / 2)
        top = round(whole.center().y() - height / 2)
        return QRectF(left, top, width, height)

    def show_plate(self, plate: Plate | None) -> None:
        """Show another case, or none."""
        self._plate = plate
        self._grey = self._over = None
        self.update()

    def show_levels(self, levels: NDArray[np.uint8] | None) -> None:
        """Take how far members reach, on the shown axes."""
        if self._plate is not None and self._plate.levels is not levels:
            self._plate = replace(self._plate, levels=levels)
            self.refresh()

    def set_cursor(self, cursor: tuple[float, float, float]) -> None:
        """Show the slice at a shown index, and the crosshair there."""
        if cursor != self._cursor:
            self._cursor = cursor
            self.update()

    def set_look(self, look: Look) -> None:
        """Show slices in another way."""
        if look != self._look:
            self._look = look
            self.update()

    def refresh(self) -> None:
        """Voxels of the mask, its colours or the proposal have changed."""
        self._edits += 1
        self.update()

    def sizeHint(self) -> QSize:
        """Give room enough to read a slice."""
        return QSize(260, 260)

    def shown_at(self, place: QPoint | QPointF) -> tuple[float, float, float]:
        """Shown index under a place on the widget, kept inside the image."""
        if self._plate is None:
            return self._cursor
        frame, shape = self.frame, self._plate.image.shape
        across = (place.x() - frame.left()) / max(frame.width(), 1e-9)
        down = (place.y() - frame.top()) / max(frame.height(), 1e-9)
        across = 1.0 - across if self.mirrored else across
        shown = list(self._cursor)
        for axis, share in ((self.rows, down), (self.columns, across)):
            shown[axis] = min(max(share * shape[axis] - 0.5, 0.0), shape[axis] - 1.0)
        return (shown[0], shown[1], shown[2])

    def place_of(self, cursor: tuple[float, float, float]) -> QPointF:
        """Place on the widget of a shown index."""
        frame = self.frame
        shape = (1, 1, 1) if self._plate is None else self._plate.image.shape
        across = (cursor[self.columns] + 0.5) / shape[self.columns]
        down = (cursor[self.rows] + 0.5) / shape[self.rows]
        across = 1.0 - across if self.mirrored else across
        return QPointF(
            frame.left() + across * frame.width(), frame.top() + down * frame.height()
        )

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the slice; what has not changed since last time is kept."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        if self._plate is not None:
            frame = self.frame
            ratio = self.devicePixelRatioF()
            size = QSize(round(frame.width() * ratio), round(frame.height() * ratio))
            painter.drawImage(frame, self._grey_image(self._plate, size))
            for image in self._overlays(self._plate, size):
                painter.drawImage(frame, image)
            paint_marks(painter, self, self._plate.case.display, self._cursor)
        painter.end()

    def _grey_image(self, plate: Plate, size: QSize) -> QImage:
        look = self._look
        key = (self.index, look.low, look.high, self.mirrored, size)
        if self._grey is None or self._grey[0] != key:
            values = plate.grey(self.axis, self.index)
            values = values[:, ::-1] if self.mirrored else values
            image = grey_image(values, look.low, look.high).scaled(
                size,
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            self._grey = (key, image)
        return self._grey[1]

    def _overlays(self, plate: Plate, size: QSize) -> list[QImage]:
        """Doubt and mask at the screen's own resolution, so that outlines are fine."""
        look = self._look
        key = (self.index, look, self.mirrored, size, self._edits)
        if self._over is None or self._over[0] != key:
            images = [] if look.hidden else self._lay_on(plate, size)
            self._over = (key, images)
        return self._over[1]

    def _lay_on(self, plate: Plate, size: QSize) -> list[QImage]:
        look, images = self._look, []
        height, width = size.height(), size.width()
        doubt = plate.doubt(self.axis, self.index) if look.uncertainty else None
        if doubt is not None:
            images.append(doubt_image(stretched(doubt, height, width, self.mirrored)))
        reach = plate.reach(self.axis, self.index) if look.contours else None
        if reach is not None:
            thickness = max(1, round(_OUTLINE_WIDTH * self.devicePixelRatioF()))
            levels = stretched(reach, height, width, self.mirrored)
            levels = nested_lines(levels, thickness, _DASH * thickness)
            return [*images, mask_image(levels, contour_colors())]
        labels = plate.labels(self.axis, self.index)
        if look.opacity > 0 and labels.any():
            labels = stretched(labels, height, width, self.mirrored)
            ink = look.opacity
            if look.outline:
                thickness = max(1, round(_OUTLINE_WIDTH * self.devicePixelRatioF()))
                labels = outlined(labels, thickness)
                ink = 0.5 + 0.5 * ink  # a thin line needs more ink than an area
            images.append(mask_image(labels, label_colors(plate.case.table, ink)))
        return images

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Move the cursor."""
        self._drag(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Move the cursor along."""
        self._drag(event)

    def _drag(self, event: QMouseEvent | None) -> None:
        if event is None or self._plate is None:
            return
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.cursor_moved.emit(*self.shown_at(event.position()))

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Ask for this plane in the main canvas."""
        left = Qt.MouseButton.LeftButton
        if event is not None and event.button() == left and self._plate is not None:
            self.plane_chosen.emit(self.plane)

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Leaf through: away from you is towards the first slice."""
        if event is None or self._plate is None:
            return
        self._turned += event.angleDelta().y()
        steps = int(self._turned / _NOTCH)
        self._turned -= steps * _NOTCH
        event.accept()
        if steps:
            last = self._plate.image.shape[self.axis] - 1
            shown = list(self._cursor)
            shown[self.axis] = float(min(max(self.index - steps, 0), last))
            self.cursor_moved.emit(*shown)
