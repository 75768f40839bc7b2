"""What is written on a pane: crosshair, orientation letters, name and place."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QPainter,
    QPainterPath,
    QPen,
)

from diffseg.volume import Display
from napari_diffseg.layers.places import Point, slice_name, slice_words

if TYPE_CHECKING:
    from napari_diffseg.widgets.panes import PlanePane

# One colour a plane, as readers know them from other viewers; readable on black,
# told apart by lightness too.
PLANE_COLORS = ("#FF7B6B", "#8BD17C", "#F2D75C")
_LETTER = QColor("#E8EDF2")
_QUIET = QColor("#AEB7C2")
_GAP = 9.0
_MARGIN = 7.0
_RIM = 2


def paint_marks(
    painter: QPainter, pane: PlanePane, display: Display, cursor: Point
) -> None:
    """Paint crosshair, letters, name and place over a pane's slice."""
    _paint_crosshair(painter, pane, cursor)
    whole = QRectF(pane.rect())
    inner = whole.adjusted(_MARGIN, _MARGIN - 2, -_MARGIN, -_MARGIN + 2)
    top, bottom = display.ends[pane.rows]
    left, right = display.ends[pane.columns]
    if pane.mirrored:
        left, right = right, left
    middle, center = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignHCenter
    at_top, at_bottom = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignBottom
    at_left, at_right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
    bold = _font(pane, 1.15, QFont.Weight.DemiBold)
    _write(painter, inner, left, bold, _LETTER, at_left | middle)
    _write(painter, inner, right, bold, _LETTER, at_right | middle)
    _write(painter, inner, top, bold, _LETTER, at_top | center)
    _write(painter, inner, bottom, bold, _LETTER, at_bottom | center)
    plain = _font(pane, 0.95)
    color = QColor(PLANE_COLORS[pane.axis])
    title = slice_name(display, pane.axis)
    _write(painter, inner, title, plain, color, at_top | at_left)
    place = slice_words(display, cursor, pane.axis)
    _write(painter, inner, place, plain, _QUIET, at_bottom | at_left)


def _paint_crosshair(painter: QPainter, pane: PlanePane, cursor: Point) -> None:
    """Lines in the colour of the plane that each one stands for; the middle free."""
    frame, at = pane.frame, pane.place_of(cursor)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    for axis, upright in ((pane.rows, False), (pane.columns, True)):
        color = QColor(PLANE_COLORS[axis])
        color.setAlphaF(0.75)
        painter.setPen(QPen(color, 1.0))
        if upright:
            ends = ((frame.top(), at.y() - _GAP), (at.y() + _GAP, frame.bottom()))
            lines = [(QPointF(at.x(), a), QPointF(at.x(), b)) for a, b in ends if a < b]
        else:
            ends = ((frame.left(), at.x() - _GAP), (at.x() + _GAP, frame.right()))
            lines = [(QPointF(a, at.y()), QPointF(b, at.y())) for a, b in ends if a < b]
        for start, end in lines:
            painter.drawLine(start, end)


def _write(
    painter: QPainter,
    where: QRectF,
    text: str,
    font: QFont,
    color: QColor,
    how: Qt.AlignmentFlag,
) -> None:
    """Write inside a rectangle, at an edge or in a corner of it."""
    device = painter.device()
    if not text or device is None:
        return
    ratio = device.devicePixelRatioF()
    stamp = _stamp(text, font.toString(), color.name(), ratio)
    width, height = stamp.width() / ratio, stamp.height() / ratio
    x, y = where.left() - _RIM, where.top()
    if how & Qt.AlignmentFlag.AlignRight:
        x = where.right() - width + _RIM
    elif how & Qt.AlignmentFlag.AlignHCenter:
        x = where.center().x() - width / 2
    if how & Qt.AlignmentFlag.AlignBottom:
        y = where.bottom() - height
    elif how & Qt.AlignmentFlag.AlignVCenter:
        y = where.center().y() - height / 2
    painter.drawImage(QPointF(round(x), round(y)), stamp)


@lru_cache(maxsize=256)
def _stamp(text: str, font_words: str, color: str, ratio: float) -> QImage:
    """Picture of a text with a dark rim, to be read on white as on black.

    Kept, since outlining text takes longer than painting a slice.
    """
    font = QFont()
    font.fromString(font_words)
    metrics = QFontMetricsF(font)
    width = math.ceil(metrics.horizontalAdvance(text)) + 2 * _RIM
    height = math.ceil(metrics.height())
    form = QImage.Format.Format_ARGB32_Premultiplied
    stamp = QImage(math.ceil(width * ratio), math.ceil(height * ratio), form)
    stamp.setDevicePixelRatio(ratio)
    stamp.fill(Qt.GlobalColor.transparent)
    path = QPainterPath()
    path.addText(QPointF(_RIM, metrics.ascent()), font, text)
    rim = QPen(QColor(0, 0, 0, 200), 1.5 * _RIM)
    rim.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter = QPainter(stamp)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.strokePath(path, rim)
    painter.fillPath(path, QColor(color))
    painter.end()
    return stamp


def _font(
    pane: PlanePane, scale: float, weight: QFont.Weight = QFont.Weight.Normal
) -> QFont:
    """Font of the window, a little larger or smaller."""
    font = QFont(pane.font())
    size = font.pointSizeF()
    if size > 0:
        font.setPointSizeF(size * scale)
    else:
        font.setPixelSize(max(1, round(font.pixelSize() * scale)))
    font.setWeight(weight)
    return font
