"""Structures of a proposal: volume, its spread over members, agreement."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPaintEvent, QPen, QPixmap, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from diffseg.domain import Label, StructureReport
from napari_diffseg.presenters.words import counted
from napari_diffseg.widgets.parts import Line, named
from napari_diffseg.widgets.tone import Tone

_HEADERS = ("Structure", "Vol.,\nml", "Spread over\nmembers, ml", "Agree-\nment")
# Without millimetres: how many voxels there are takes room, and spread has no unit.
_HEADERS_IN_VOXELS = ("Structure", "Size", "Spread", "Agree-\nment")
_WIDTHS, _WIDTHS_IN_VOXELS = (48, 98, 52), (88, 58, 52)
_TIPS = (
    "Click a row to go to the structure",
    "Volume of the consensus mask",
    "5 % to 95 % of the members. How far members differ: not an interval of confidence",
    "Mean Dice between pairs of members; 1 is the same mask",
)
_ROW = 40
_LEAST_RANGE = 0.05  # A bar's half width is at least 5 % of the volume.
_MOST_ROWS = 8


def spread_range(reports: Sequence[StructureReport]) -> float:
    """Half width of the bars, as a share of the volume: the widest spread's."""
    widest = _LEAST_RANGE
    for report in reports:
        volume, low, high = report.volume_ml, *_spread(report)
        if volume and low is not None and high is not None:
            widest = max(widest, abs(low / volume - 1), abs(high / volume - 1))
    return min(widest, 1.0)


class SpreadCell(QWidget):
    """Numbers, and below them a bar around the volume.

    Parameters
    ----------
    report : StructureReport
    half_range : float
        Share of the volume that half the bar's ground stands for.
    color : str
        The structure's.
    """

    def __init__(self, report: StructureReport, half_range: float, color: str) -> None:
        super().__init__()
        self._report, self._range, self._color = report, half_range, color
        self._words = Line(_spread_text(report), role="plain")
        self._words.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._words.setWordWrap(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 0, 13)
        self.setProperty("clear", True)
        layout.addWidget(self._words)
        self.setToolTip(_spread_tip(report, half_range))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar."""
        report = self._report
        volume, low, high = report.volume_ml, *_spread(report)
        if not volume or low is None or high is None:
            return
        painter, tone = QPainter(self), Tone.of(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left, width = 4.0, self.width() - 8.0
        middle, half, top = left + width / 2, width / 2, self.height() - 9.0

        def place(value: float) -> float:
            share = (value / volume - 1) / self._range
            return middle + half * max(-1.0, min(1.0, share))

        painter.setPen(QPen(QColor(tone.edge), 1))
        painter.drawLine(int(left), int(top), int(left + width), int(top))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._color))
        start, end = place(low), place(high)
        painter.drawRoundedRect(
            int(start), int(top) - 2, max(3, int(end - start)), 5, 2, 2
        )
        painter.setBrush(QColor(tone.text))
        painter.drawRect(int(middle) - 1, int(top) - 4, 2, 9)


class StructureTable(QTableWidget):
    """One row a structure; a click goes there."""

    chosen = Signal(int)  # label value

    def __init__(self, handle: str) -> None:
        super().__init__(0, len(_HEADERS))
        named(self, handle, "Structures of the proposal. Click a row to go there")
        self._values: list[int] = []
        self._set_unit(known=True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setIconSize(QSize(12, 12))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setTabKeyNavigation(False)
        self._set_up_headers()
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self._values[row]))
        self.cellActivated.connect(lambda row, _: self.chosen.emit(self._values[row]))

    def _set_up_headers(self) -> None:
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(_ROW)
        rows.setMinimumSectionSize(_ROW)
        columns.setHighlightSections(False)
        columns.setSectionsClickable(False)
        columns.setMinimumSectionSize(40)
        columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        modes = QHeaderView.ResizeMode
        columns.setSectionResizeMode(0, modes.Stretch)
        for column in range(1, len(_HEADERS)):
            columns.setSectionResizeMode(column, modes.Fixed)

    def _set_unit(self, known: bool) -> None:
        """Head the columns in millilitres, or in voxels where none are known."""
        heads = _HEADERS if known else _HEADERS_IN_VOXELS
        self.setHorizontalHeaderLabels(list(heads))
        for column, tip in enumerate(_TIPS):
            header = self.horizontalHeaderItem(column)
            if header is not None:
                header.setToolTip(tip)
        widths = _WIDTHS if known else _WIDTHS_IN_VOXELS
        for column, width in enumerate(widths, start=1):
            self.setColumnWidth(column, width)

    def show_rows(
        self, rows: Sequence[tuple[Label, StructureReport]], word: str = "voxel"
    ) -> None:
        """Show structures with their measurements; `word` is for one voxel."""
        self._values = [label.value for label, _ in rows]
        half_range = spread_range([report for _, report in rows])
        in_voxels = [report.volume_ml is None and report.voxels for _, report in rows]
        self._set_unit(known=not any(in_voxels))
        self.setRowCount(len(rows))
        for place, (label, report) in enumerate(rows):
            name = QTableWidgetItem(_square(label.color), label.name)
            name.setToolTip(f"{label.name}. Click to go there")
            self.setItem(place, 0, name)
            self.setItem(place, 1, _cell(_volume_text(report, word), _TIPS[1]))
            self.setItem(place, 2, _cell("", _spread_tip(report, half_range)))
            earlier = self.cellWidget(place, 2)
            if earlier is not None:
                earlier.hide()  # it goes a moment later
            self.setCellWidget(place, 2, SpreadCell(report, half_range, label.color))
            agreed = report.expected_dice
            text = "–" if agreed is None else f"{agreed:.2f}"
            self.setItem(place, 3, _cell(text, _TIPS[3]))
        self.clearSelection()
        self._fit_height()

    def _fit_height(self) -> None:
        header = self.horizontalHeader()
        assert header is not None
        shown = min(self.rowCount(), _MOST_ROWS)
        self.setFixedHeight(header.sizeHint().height() + shown * _ROW + 2)

    def showEvent(self, event: QShowEvent) -> None:
        """Fit the height once the theme's font is known."""
        super().showEvent(event)
        self._fit_height()


def _cell(text: str, tip: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(tip)
    return item


def _square(color: str) -> QIcon:
    picture = QPixmap(24, 24)
    picture.fill(QColor(color))
    return QIcon(picture)


def _spread(report: StructureReport) -> tuple[float | None, float | None]:
    """5 % and 95 % of the members in ml; one member alone has no spread."""
    if report.expected_dice is None:
        return None, None
    return report.volume_ml_p05, report.volume_ml_p95


def _volume_text(report: StructureReport, word: str) -> str:
    if not report.voxels:
        return "none"
    if report.volume_ml is None:
        return counted(report.voxels, word).replace(" ", "\n")
    return _rounded(report.volume_ml)


def _rounded(millilitres: float) -> str:
    digits = 0 if millilitres >= 100 else 1 if millilitres >= 10 else 2
    return f"{millilitres:,.{digits}f}"


def _spread_text(report: StructureReport) -> str:
    low, high = _spread(report)
    if low is None or high is None:
        return "–"
    return f"{_rounded(low)} – {_rounded(high)}"


def _spread_tip(report: StructureReport, half_range: float) -> str:
    volume, low, high = report.volume_ml, *_spread(report)
    if not volume or low is None or high is None:
        return "The spread needs millimetres and more than one member"
    return (
        f"5 % to 95 % of the members: {low:.3f} to {high:.3f} ml "
        f"({low / volume - 1:+.1%} to {high / volume - 1:+.1%}). The bar spans "
        f"±{half_range:.0%}; the tick is the consensus. Not an interval of confidence"
    )
