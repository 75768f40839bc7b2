"""The list of a project's cases: a model of thousands of rows, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QFont, QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from diffseg.project.entries import CaseState, Row
from napari_diffseg.presenters.rows import labels_in_words
from napari_diffseg.views import Column
from napari_diffseg.widgets.parts import UNIT, named
from napari_diffseg.widgets.tone import Tone

Index = QModelIndex | QPersistentModelIndex

SIGNS: dict[CaseState, tuple[str, str]] = {
    "not_started": ("○", "not started"),
    "in_progress": ("◐", "in progress"),
    "done": ("●", "done"),
    "flagged": ("⚑", "flagged"),
}
"""Of each state: its sign, and its words."""

_COLUMNS: tuple[tuple[Column, str, str], ...] = (
    ("state", "", "How far the case is"),
    ("name", "Case", "Double click, or Enter, opens the case"),
    ("labels", "Labels", "What was said to be in the image"),
    (
        "dice",
        "Dice",
        "Expected Dice of the newest proposal: low ones deserve a look",
    ),
    ("who", "Who", "Who works on it now, else who reviewed it last"),
)
_WIDTHS: dict[Column, int] = {"state": 22, "labels": 70, "dice": 44, "who": 52}
_FEWEST, _MOST = 3, 9  # rows in sight
_ROW = 24
_LOW = 0.7  # below this, expected Dice is marked


class CaseModel(QAbstractTableModel):
    """Rows as they are asked for; nothing is made ahead of what is in sight."""

    def __init__(self, table: QTableView) -> None:
        super().__init__(table)
        self._table = table
        self._rows: Sequence[Row] = ()
        self._dice: Mapping[str, float] = {}
        self._current: str | None = None

    def show_rows(
        self, rows: Sequence[Row], dice: Mapping[str, float], current: str | None
    ) -> None:
        """Show these cases in this order."""
        if len(rows) == len(self._rows):
            self._rows, self._dice, self._current = rows, dice, current
            if rows:
                last = self.index(len(rows) - 1, len(_COLUMNS) - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            return
        self.beginResetModel()
        self._rows, self._dice, self._current = rows, dice, current
        self.endResetModel()

    def id_at(self, row: int) -> str:
        """Id of the case of a row."""
        return self._rows[row].id

    def row_of(self, id: str | None) -> int:
        """Row of a case; -1 where it is not in the list."""
        return next((at for at, row in enumerate(self._rows) if row.id == id), -1)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """How many cases."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """How many columns."""
        return 0 if parent.isValid() else len(_COLUMNS)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Name of a column."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        _, text, tip = _COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return text
        return tip if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        row, column = self._rows[index.row()], _COLUMNS[index.column()][0]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(row, column)
        if role == Qt.ItemDataRole.FontRole and row.id == self._current:
            font = QFont(self._table.font())
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.ForegroundRole:
            return self._color(row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column in ("state", "dice"):
            return Qt.AlignmentFlag.AlignCenter
        return None

    def _text(self, row: Row, column: Column) -> str:
        if column == "state":
            return SIGNS[row.state][0]
        if column == "labels":
            return labels_in_words(row)
        if column == "dice":
            return f"{self._dice[row.id]:.2f}" if row.id in self._dice else ""
        return row.name if column == "name" else row.who

    def _tip(self, row: Row, column: Column) -> str:
        if column == "state":
            return SIGNS[row.state][1].capitalize()
        if column == "who" and row.held:
            return f"{row.who} works on it now"
        if column == "name":
            versions = f"{row.versions} version{'s' if row.versions != 1 else ''}"
            when = datetime.fromtimestamp(row.changed).astimezone()
            changed = f"changed {when:%Y-%m-%d %H:%M}"
            return f"{row.name}: {SIGNS[row.state][1]}, {versions}, {changed}"
        return self._text(row, column)

    def _color(self, row: Row, column: Column) -> QColor | None:
        tone = Tone.of(self._table)
        if column == "state":
            return QColor(
                {"done": tone.focus, "flagged": "#E69F00"}.get(row.state, tone.muted)
            )
        if column == "dice" and self._dice.get(row.id, 1.0) < _LOW:
            return QColor("#E69F00")
        if column == "who" and not row.held:
            return QColor(tone.muted)
        return QColor(tone.muted) if column == "labels" else None


class CaseList(QTableView):
    """The table; a double click or Enter asks for a case."""

    case_requested = Signal(str)
    sort_requested = Signal(str, bool)

    def __init__(self, handle: str) -> None:
        super().__init__()
        named(self, handle, "Cases of the project. Double click opens one")
        self._cases = CaseModel(self)
        self._sorted: tuple[Column, bool] = ("name", False)
        self.setModel(self._cases)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setMinimumWidth(0)
        self._fit(0)
        self._dress()
        self.doubleClicked.connect(self._tell)

    def _dress(self) -> None:
        down, across = self.verticalHeader(), self.horizontalHeader()
        assert down is not None
        assert across is not None
        down.hide()
        down.setDefaultSectionSize(_ROW)
        down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        across.setSectionsClickable(True)
        across.setSortIndicatorShown(True)
        across.setHighlightSections(False)
        across.setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        across.setMinimumSectionSize(20)
        for place, (column, _, _) in enumerate(_COLUMNS):
            mode = QHeaderView.ResizeMode.Fixed
            if column == "name":
                mode = QHeaderView.ResizeMode.Stretch
            across.setSectionResizeMode(place, mode)
            if column in _WIDTHS:
                across.resizeSection(place, _WIDTHS[column])
        across.setSortIndicator(1, Qt.SortOrder.AscendingOrder)
        across.sectionClicked.connect(self._sort)

    def show_rows(
        self, rows: Sequence[Row], dice: Mapping[str, float], current: str | None
    ) -> None:
        """Show these cases in this order; the open one is bold and in sight."""
        before = self._cases.row_of(current)
        chosen = self.chosen
        self._cases.show_rows(rows, dice, current)
        self._fit(len(rows))
        at = self._cases.row_of(current)
        if at >= 0 and (at != before or chosen != current):
            self.selectRow(at)
            self.scrollTo(self._cases.index(at, 1))
        elif at < 0 and chosen is not None:
            self.selectRow(self._cases.row_of(chosen))

    def _fit(self, count: int) -> None:
        """As high as a short list is; a long one scrolls."""
        rows = min(max(count, _FEWEST), _MOST) + 1
        if self.height() != rows * _ROW + UNIT:
            self.setFixedHeight(rows * _ROW + UNIT)

    @property
    def chosen(self) -> str | None:
        """Id of the row at hand."""
        at = self.currentIndex().row()
        inside = 0 <= at < self._cases.rowCount()
        return self._cases.id_at(at) if inside else None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the row at hand on Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._tell(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _tell(self, index: QModelIndex) -> None:
        if index.isValid():
            self.case_requested.emit(self._cases.id_at(index.row()))

    def _sort(self, section: int) -> None:
        column = _COLUMNS[section][0]
        before, down = self._sorted
        self._sorted = (column, not down if column == before else False)
        order = Qt.SortOrder
        down = self._sorted[1]
        header = self.horizontalHeader()
        if header is not None:
            header.setSortIndicator(
                section, order.DescendingOrder if down else order.AscendingOrder
            )
        self.sort_requested.emit(*self._sorted)
