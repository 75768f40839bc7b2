"""The doubt of every slice, in a strip to click on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, QSizeF, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffseg.widgets.parts import UNIT, sentence
from napari_diffseg.widgets.tone import Tone, mix

_EMPTY = np.zeros(0, np.float32)
_FOOT = 16  # px below the plot, for numbers
_HEAD = 16  # px above it, for its title
_TICK = 4  # px high, of what was looked at
_MARK = 6  # px across the mark of a place
_LEAST_TOP = 0.05  # Doubts below this do not fill the strip.


class Strip(QWidget):
    """A plot of doubt over slices; a click or the arrow keys go to a slice."""

    chosen = Signal(int)  # slice, as shown

    def __init__(self, handle: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(handle)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self._doubts: NDArray[np.float32] = _EMPTY
        self._here = 0
        self._title = self._where = ""
        self._marks: tuple[tuple[int, bool], ...] = ()
        self._seen: tuple[int, ...] = ()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(UNIT * 10)

    def sizeHint(self) -> QSize:
        """As wide as the dock."""
        return QSize(UNIT * 36, UNIT * 10)

    def show_doubts(
        self,
        doubts: NDArray[np.float32],
        here: int,
        *,
        title: str = "",
        where: str = "",
        marks: Sequence[tuple[int, bool]] = (),
        seen: Sequence[int] = (),
    ) -> None:
        """Plot the doubt of each slice in [0, 1], with a line at slice `here`.

        `where` is written there instead of the slice's number; `marks` are slices
        of places, and whether each was looked at; `seen` slices get a tick.
        """
        self._doubts, self._here = np.asarray(doubts, np.float32), here
        self._title, self._where, self._marks = title, where, tuple(marks)
        self._seen = tuple(seen)
        self.setVisible(bool(len(self._doubts)))
        self.update()

    def slice_at(self, x: float) -> int:
        """Slice at a distance from the left, in px."""
        last = len(self._doubts) - 1
        share = (x - 1) / max(1.0, self.width() - 2)
        return int(np.clip(round(share * last), 0, max(0, last)))

    def x_of(self, index: int) -> float:
        """Distance of a slice from the left, in px."""
        last = max(1, len(self._doubts) - 1)
        return 1 + (self.width() - 2) * index / last

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the slice under the mouse."""
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on while the button is held."""
        self._go(event)

    def _go(self, event: QMouseEvent) -> None:
        if len(self._doubts):
            index = self.slice_at(event.position().x())
            if index != self._here:
                self._tell(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go to the neighbour on an arrow key."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() not in steps or not len(self._doubts):
            super().keyPressEvent(event)
            return
        last = len(self._doubts) - 1
        self._tell(min(max(self._here + steps[Qt.Key(event.key())], 0), last))

    def _tell(self, index: int) -> None:
        self._here, self._where = index, ""  # told anew once it is shown
        self.update()
        self.chosen.emit(index)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw ground, curve, the line where we are, and numbers."""
        tone, painter = Tone.of(self), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        base = self.height() - _FOOT
        painter.setPen(
            QPen(QColor(tone.focus if self.hasFocus() else tone.hairline), 1)
        )
        painter.setBrush(QColor(tone.field))
        painter.drawRoundedRect(0, _HEAD, self.width() - 1, base - _HEAD, 3, 3)
        if not len(self._doubts):
            return
        self._draw_title(painter, tone)
        self._draw_curve(painter, tone, base)
        self._draw_ticks(painter, tone)
        self._draw_marks(painter, tone, base)
        x = self.x_of(self._here)
        painter.setPen(QPen(QColor(tone.text), 2))
        painter.drawLine(QPointF(x, _HEAD + 1), QPointF(x, base - 1))
        self._draw_numbers(painter, tone, x)

    def _draw_curve(self, painter: QPainter, tone: Tone, base: int) -> None:
        top = max(_LEAST_TOP, float(self._doubts.max()))
        room = base - _HEAD - 6
        points = [
            QPointF(self.x_of(i), base - 1 - room * float(np.clip(d, 0, top)) / top)
            for i, d in enumerate(self._doubts)
        ]
        ground = [QPointF(self.x_of(0), base - 1), *points]
        ground.append(QPointF(self.x_of(len(points) - 1), base - 1))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(mix(tone.field, tone.focus, 0.40)))
        painter.drawPolygon(QPolygonF(ground))
        painter.setPen(QPen(QColor(tone.focus), 1.5))
        painter.drawPolyline(QPolygonF(points))

    def _draw_title(self, painter: QPainter, tone: Tone) -> None:
        line = self.rect().adjusted(0, 0, 0, _HEAD - self.height())
        painter.setPen(QColor(tone.muted))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, sentence(self._title))

    def _draw_ticks(self, painter: QPainter, tone: Tone) -> None:
        """A bar along the top over each slice that has been looked at."""
        half = max(0.75, (self.width() - 2) / max(1, len(self._doubts)) / 2)
        for index in self._seen:
            middle = QPointF(self.x_of(index) - half, _HEAD + 1)
            box = QRectF(middle, QSizeF(2 * half, _TICK))
            painter.fillRect(box, QColor(tone.muted))

    def _draw_marks(self, painter: QPainter, tone: Tone, base: int) -> None:
        """A dot for each place on the ground line: filled while it is open."""
        half = _MARK / 2
        # Open ones last, so that none lies below one that was looked at.
        for index, accepted in sorted(self._marks, key=lambda one: not one[1]):
            ground = tone.field if accepted else tone.text
            painter.setPen(QPen(QColor(tone.muted if accepted else tone.field), 1))
            painter.setBrush(QColor(ground))
            middle = QPointF(self.x_of(index), base - 1 - half)
            painter.drawEllipse(middle, half, half)

    def _draw_numbers(self, painter: QPainter, tone: Tone, x: float) -> None:
        count, flags = len(self._doubts), Qt.AlignmentFlag
        line = self.rect().adjusted(0, self.height() - _FOOT + 1, 0, 0)
        text = self._where or f"slice {self._here + 1}"
        room = painter.fontMetrics().horizontalAdvance(text) + UNIT
        painter.setPen(QColor(tone.muted))
        left = min(max(0, int(x) - room // 2), self.width() - room)
        if left > 2 * UNIT and not self._where:
            painter.drawText(line, flags.AlignLeft, "1")
        if left + room < self.width() - 4 * UNIT and not self._where:
            painter.drawText(line, flags.AlignRight, str(count))
        painter.setPen(QColor(tone.text))
        side = flags.AlignHCenter
        if left == 0:
            side = flags.AlignLeft
        elif left == self.width() - room:
            side = flags.AlignRight
        line.setLeft(left)
        line.setWidth(room)
        painter.drawText(line, side, text)
