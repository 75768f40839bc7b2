"""Labels by slice: a lane for each structure, below the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QBrush,
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from diffseg.domain import Presence
from napari_diffseg.views import LabelStrip
from napari_diffseg.widgets.parts import UNIT
from napari_diffseg.widgets.tone import Tone, mix

_LANE = 18  # px
_NAMES = 132  # px left of the lanes
_FOOT = 16  # px below them, for the slice's number
_MOST = 8
_WORDS = {
    Presence.PRESENT: "present",
    Presence.ABSENT: "absent",
    Presence.UNKNOWN: "?",
}


class LabelLanes(QWidget):
    """What is known of each structure, slice by slice; a click goes to a slice."""

    chosen = Signal(int)  # slice, as shown

    def __init__(self, handle: str) -> None:
        super().__init__()
        self.setObjectName(handle)
        tip = "Labels by slice: filled is present, hatched absent. Click to go there"
        self.setToolTip(tip)
        self.setAccessibleName("Labels by slice")
        self._strips: tuple[LabelStrip, ...] = ()
        self._here: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._resize()

    def sizeHint(self) -> QSize:
        """As high as its lanes."""
        return QSize(UNIT * 60, self.height())

    def show_strips(self, strips: Sequence[LabelStrip], here: int | None) -> None:
        """Show what is known by slice, with a line at slice `here`."""
        self._strips, self._here = tuple(strips[:_MOST]), here
        self._resize()
        self.update()

    @property
    def count(self) -> int:
        """How many slices."""
        return len(self._strips[0].slices) if self._strips else 0

    def slice_at(self, x: float) -> int:
        """Slice at a distance from the left, in px."""
        share = (x - _NAMES) / max(1.0, self._room)
        return int(np.clip(share * self.count, 0, max(0, self.count - 1)))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the slice under the mouse."""
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on while the button is held."""
        self._go(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go to the neighbour on an arrow key."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if event.key() not in steps or self._here is None or not plain:
            super().keyPressEvent(event)
            return
        wanted = self._here + steps[Qt.Key(event.key())]
        self.chosen.emit(min(max(wanted, 0), self.count - 1))

    def _go(self, event: QMouseEvent) -> None:
        if self.count and event.position().x() >= _NAMES:
            index = self.slice_at(event.position().x())
            if index != self._here:
                self.chosen.emit(index)

    @property
    def _room(self) -> float:
        return self.width() - _NAMES - UNIT

    def _x_of(self, index: float) -> float:
        return _NAMES + self._room * index / max(1, self.count)

    def _resize(self) -> None:
        self.setFixedHeight(max(1, len(self._strips)) * _LANE + _FOOT + UNIT)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw names, lanes, the line where we are, and its number."""
        tone, painter = Tone.of(self), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for lane, strip in enumerate(self._strips):
            self._draw_lane(painter, tone, strip, UNIT // 2 + lane * _LANE)
        if self.count and self._here is not None:
            self._draw_here(painter, tone)

    def _draw_lane(
        self, painter: QPainter, tone: Tone, strip: LabelStrip, top: float
    ) -> None:
        color = QColor(strip.label.color)
        painter.setPen(QColor(tone.text))
        name = QRectF(UNIT, top, _NAMES - 2 * UNIT - 46, _LANE - 2)
        flags = Qt.AlignmentFlag
        text = painter.fontMetrics().elidedText(
            strip.label.name, Qt.TextElideMode.ElideRight, int(name.width())
        )
        painter.drawText(name, flags.AlignLeft | flags.AlignVCenter, text)
        painter.setPen(QColor(tone.muted))
        whole = QRectF(_NAMES - UNIT - 50, top, 50, _LANE - 2)
        painter.drawText(
            whole, flags.AlignRight | flags.AlignVCenter, _WORDS[strip.whole]
        )
        painter.setPen(QPen(QColor(tone.hairline), 1))
        painter.setBrush(QColor(tone.field))
        painter.drawRect(QRectF(_NAMES, top, self._room, _LANE - 3))
        for first, stop, code in runs_of(strip.slices):
            box = QRectF(
                self._x_of(first), top, self._x_of(stop) - self._x_of(first), _LANE - 3
            )
            if code == 1:
                painter.fillRect(box, color)
            elif code == 2:
                painter.fillRect(box, QColor(mix(tone.field, tone.text, 0.08)))
                hatch = QBrush(QColor(tone.muted), Qt.BrushStyle.BDiagPattern)
                painter.fillRect(box, hatch)
        if strip.begun is not None:
            self._draw_begun(painter, color, strip.begun, top)

    def _draw_begun(
        self, painter: QPainter, color: QColor, begun: int, top: float
    ) -> None:
        """An edge where a range starts, and how far it would go."""
        start = self._x_of(begun)
        painter.setPen(QPen(color, 2))
        painter.drawLine(QPointF(start, top), QPointF(start, top + _LANE - 3))
        if self._here is not None:
            first, last = sorted((begun, self._here))
            pen = QPen(color, 1, Qt.PenStyle.DashLine)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            width = self._x_of(last + 1) - self._x_of(first)
            painter.drawRect(QRectF(self._x_of(first), top + 1, width, _LANE - 5))

    def _draw_here(self, painter: QPainter, tone: Tone) -> None:
        here = self._here or 0
        x = self._x_of(here + 0.5)
        base = UNIT // 2 + len(self._strips) * _LANE
        painter.setPen(QPen(QColor(tone.text), 2))
        painter.drawLine(QPointF(x, UNIT // 2 - 2), QPointF(x, base - 1))
        text = f"slice {here + 1} of {self.count}"
        wide = painter.fontMetrics().horizontalAdvance(text) + 2
        left = min(max(_NAMES, x - wide / 2), self.width() - wide)
        painter.drawText(
            QRectF(left, base, wide, _FOOT), Qt.AlignmentFlag.AlignLeft, text
        )


def runs_of(codes: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of one code along slices: first, stop and the code, unknown left out."""
    if not len(codes):
        return []
    edges = np.flatnonzero(np.diff(codes)) + 1
    bounds = [0, *(int(edge) for edge in edges), len(codes)]
    return [(a, b, int(codes[a])) for a, b in pairwise(bounds) if codes[a]]
