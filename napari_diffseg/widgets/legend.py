"""What the lines and colours over the image mean."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffseg.layers.colours import CONTOUR_COLORS, uncertainty_colormap
from napari_diffseg.views import Shown
from napari_diffseg.widgets.parts import UNIT
from napari_diffseg.widgets.tone import Tone

_LINES = tuple(zip(("5 %", "50 %", "95 %"), CONTOUR_COLORS, strict=True))
_STOPS = 16


class Legend(QWidget):
    """Contours or the ramp of uncertainty, whichever is shown; nothing otherwise."""

    def __init__(self, handle: str) -> None:
        super().__init__()
        self.setObjectName(handle)
        self._shown: Shown = "mask"
        self.setFixedHeight(UNIT * 4)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.hide()

    def explain(self, shown: Shown) -> None:
        """Explain what is shown."""
        self._shown = shown
        tips = {
            "contours": "Lines that 5 %, 50 % and 95 % probability run along; "
            "dashes of several colours where they run together",
            "uncertainty": "Predictive entropy: 0 where members agree, 1 at most",
        }
        self.setToolTip(tips.get(shown, ""))
        self.setAccessibleName(tips.get(shown, "Legend"))
        self.setVisible(shown in tips)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._shown == "contours":
            self._draw_lines(painter)
        elif self._shown == "uncertainty":
            self._draw_ramp(painter)

    def _draw_lines(self, painter: QPainter) -> None:
        tone = Tone.of(self)
        column, middle = self.width() / len(_LINES), self.height() // 2
        for place, (text, color) in enumerate(_LINES):
            left = int(place * column)
            # On the black of an image, as the lines themselves.
            painter.setPen(QPen(QColor(tone.edge), 1))
            painter.setBrush(QColor("#000000"))
            painter.drawRoundedRect(left + 1, middle - 7, 26, 14, 3, 3)
            painter.setPen(QPen(QColor(color), 2.5))
            painter.drawLine(left + 5, middle, left + 23, middle)
            painter.setPen(QColor(tone.muted))
            painter.drawText(
                left + 32,
                0,
                int(column) - 32,
                self.height(),
                Qt.AlignmentFlag.AlignVCenter,
                text,
            )

    def _draw_ramp(self, painter: QPainter) -> None:
        tone = Tone.of(self)
        gradient = QLinearGradient(0, 0, self.width(), 0)
        shares = np.linspace(0.0, 1.0, _STOPS)
        for share, color in zip(
            shares, uncertainty_colormap().map(shares), strict=True
        ):
            # The ramp's beginning is transparent: over the black of an image.
            red, green, blue = (float(part * color[3]) for part in color[:3])
            gradient.setColorAt(float(share), QColor.fromRgbF(red, green, blue))
        painter.setPen(QPen(QColor(tone.edge), 1))
        painter.setBrush(gradient)
        painter.drawRoundedRect(0, 2, self.width() - 1, 10, 3, 3)
        painter.setPen(QColor(tone.muted))
        below = self.rect().adjusted(0, 14, 0, 0)
        flags = Qt.AlignmentFlag
        painter.drawText(below, flags.AlignLeft, "0 agree")
        painter.drawText(below, flags.AlignRight, "1 disagree")
