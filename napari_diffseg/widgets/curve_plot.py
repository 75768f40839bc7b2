"""Plots of panel "Train" and of the calibration, drawn as the strips are."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffseg.views import LearningCurve, Reliability
from napari_diffseg.widgets.parts import UNIT
from napari_diffseg.widgets.tone import AMBER, Tone

_HEAD, _FOOT, _SIDE = 20, 17, 4
_DOT = 3.0
_LEAST_SPAN = 0.05  # Dice that the plot's height stands for at least

Points = Sequence[tuple[float, float]]


class Plot(QWidget):
    """A framed ground to draw on, as wide as the dock.

    Parameters
    ----------
    handle, tip : str
    height : int
        In px.
    """

    def __init__(self, handle: str, tip: str, height: int) -> None:
        super().__init__()
        self.setObjectName(handle)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(height)

    def sizeHint(self) -> QSize:
        """As wide as the dock."""
        return QSize(UNIT * 36, self.height())

    @property
    def ground(self) -> QRectF:
        """What is drawn on."""
        room = self.rect().adjusted(0, _HEAD, -1, -_FOOT)
        return QRectF(room)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the ground, then what lies on it."""
        tone, painter = Tone.of(self), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(tone.hairline), 1))
        painter.setBrush(QColor(tone.field))
        painter.drawRoundedRect(self.ground, 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        self.draw(painter, tone)

    def draw(self, painter: QPainter, tone: Tone) -> None:
        """Draw what lies on the ground."""

    def legend(
        self, painter: QPainter, tone: Tone, entries: Sequence[tuple[str, str, bool]]
    ) -> None:
        """Write (text, colour, whether its line has dots) above the ground."""
        left, middle = 0.0, _HEAD / 2 - 2
        for text, color, dots in entries:
            painter.setPen(QPen(QColor(color), 2))
            painter.drawLine(QPointF(left, middle), QPointF(left + 14, middle))
            if dots:
                painter.setBrush(QColor(color))
                painter.drawEllipse(QPointF(left + 7, middle), _DOT, _DOT)
                painter.setBrush(Qt.BrushStyle.NoBrush)
            width = painter.fontMetrics().horizontalAdvance(text)
            box = QRectF(left + 19, 0, width + 4, _HEAD - 4)
            painter.setPen(QColor(tone.text))
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, text)
            left += 19 + width + UNIT * 2

    def line(
        self, painter: QPainter, points: Points, color: str, *, dots: bool
    ) -> None:
        """Draw a line through points in px, with or without dots."""
        placed = [QPointF(x, y) for x, y in points]
        painter.setPen(QPen(QColor(color), 2.0 if dots else 1.5))
        painter.drawPolyline(QPolygonF(placed))
        if dots or len(placed) == 1:  # of one point there is no line
            painter.setBrush(QColor(color))
            for point in placed:
                painter.drawEllipse(point, _DOT, _DOT)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def foot(self, painter: QPainter, tone: Tone, left: str, right: str) -> None:
        """Write what the axis below means at its ends."""
        line = QRectF(self.rect().adjusted(0, self.height() - _FOOT + 2, -1, 0))
        painter.setPen(QColor(tone.muted))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, left)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight, right)


class CurvePlot(Plot):
    """Loss by step, and the Dice of held-out cases, while a model learns."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            handle,
            "Loss of the latest steps, and mean Dice of held-out cases with dots",
            UNIT * 17,
        )
        self._curve = LearningCurve()
        self.hide()

    def show_curve(self, curve: LearningCurve) -> None:
        """Draw this curve; nothing at all without a point."""
        self._curve = curve
        self.setVisible(bool(curve.losses or curve.scores))
        self.update()

    def draw(self, painter: QPainter, tone: Tone) -> None:
        """Draw loss, Dice, their latest values, and steps."""
        curve = self._curve
        entries = []
        if curve.losses:
            latest = f"Loss {curve.losses[-1][1]:.3f}"
            entries.append((latest, tone.muted, False))
            self.line(painter, self.placed_losses(), tone.muted, dots=False)
        if curve.scores:
            latest = f"Held-out Dice {curve.scores[-1][1]:.3f}"
            entries.append((latest, tone.focus, True))
            self.line(painter, self.placed_scores(), tone.focus, dots=True)
        self.legend(painter, tone, entries)
        self.foot(painter, tone, "step 0", f"{self.last}")

    @property
    def last(self) -> int:
        """Step at the right edge."""
        taken = [step for step, _ in (*self._curve.losses, *self._curve.scores)]
        return max(1, self._curve.total, *taken)

    def placed_losses(self) -> Points:
        """Points of the loss in px: from 0 at the bottom to the largest."""
        top = max(loss for _, loss in self._curve.losses) or 1.0
        return self._placed(self._curve.losses, 0.0, top)

    def placed_scores(self) -> Points:
        """Points of the Dice in px; the height is what it has gone through."""
        values = [score for _, score in self._curve.scores]
        low, high = min(values), max(values)
        middle, half = (low + high) / 2, max(high - low, _LEAST_SPAN) / 2
        return self._placed(self._curve.scores, middle - half, middle + half)

    def _placed(
        self, points: Sequence[tuple[int, float]], low: float, high: float
    ) -> Points:
        room = self.ground.adjusted(_SIDE + 2, 6, -_SIDE - 2, -6)
        return [
            (
                room.left() + room.width() * step / self.last,
                room.bottom() - room.height() * (value - low) / (high - low),
            )
            for step, value in points
        ]


class ReliabilityPlot(Plot):
    """What was said against what was so: on the diagonal both are the same."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            handle,
            "Probability that was said, against the share that was right; on the "
            "dashed line both are the same",
            UNIT * 24,
        )
        self._found: Reliability | None = None
        self.hide()

    def show_reliability(self, found: Reliability | None) -> None:
        """Draw this diagram; nothing at all without one."""
        self._found = found
        self.setVisible(found is not None)
        self.update()

    def draw(self, painter: QPainter, tone: Tone) -> None:
        """Draw the diagonal, and the lines before and after."""
        found = self._found
        if found is None:
            return
        ends = self.placed([(0.0, 0.0), (1.0, 1.0)])
        painter.setPen(QPen(QColor(tone.faint), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(*ends[0]), QPointF(*ends[1]))
        self.line(painter, self.placed(found.before), AMBER, dots=False)
        self.line(painter, self.placed(found.after), tone.focus, dots=True)
        before, after = found.ece
        self.legend(
            painter,
            tone,
            [
                (f"Before: error {before:.4f}", AMBER, False),
                (f"after: {after:.4f}", tone.focus, True),
            ],
        )
        self.foot(painter, tone, "0   probability that was said", "1")

    def placed(self, points: Points) -> Points:
        """Points of [0, 1] x [0, 1] in px."""
        room = self.ground.adjusted(_SIDE + 2, 6, -_SIDE - 2, -6)
        return [
            (room.left() + room.width() * x, room.bottom() - room.height() * y)
            for x, y in points
        ]
