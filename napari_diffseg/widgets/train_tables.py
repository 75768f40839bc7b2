"""Tables of panel "Train": cases, what became of each class, and versions."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QFont
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
)

from napari_diffseg.views import ClassChange, DiceLine, TrainCase, Version
from napari_diffseg.widgets.parts import named, quietly

_ROW = 24
_MOST = 6
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_ID = Qt.ItemDataRole.UserRole


class PlainTable(QTableWidget):
    """A table to be read; as high as its rows, up to a few.

    Parameters
    ----------
    handle, tip : str
    headers : sequence of (str, str, int)
        Text, tooltip, and width in px; 0 takes what is left.
    """

    def __init__(
        self, handle: str, tip: str, headers: Sequence[tuple[str, str, int]]
    ) -> None:
        super().__init__(0, len(headers))
        named(self, handle, tip)
        self.setHorizontalHeaderLabels([text for text, _, _ in headers])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        down, across = self.verticalHeader(), self.horizontalHeader()
        assert down is not None
        assert across is not None
        down.hide()
        down.setDefaultSectionSize(_ROW)
        across.setHighlightSections(False)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        for column, (_, tip_, width) in enumerate(headers):
            item = self.horizontalHeaderItem(column)
            assert item is not None
            item.setToolTip(tip_)
            mode = QHeaderView.ResizeMode
            across.setSectionResizeMode(column, mode.Fixed if width else mode.Stretch)
            if width:
                self.setColumnWidth(column, width)

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        """Show these rows; numbers stand on the right."""
        with quietly(self):
            self.setRowCount(len(rows))
            for at, row in enumerate(rows):
                for column, text in enumerate(row):
                    item = QTableWidgetItem(text)
                    item.setToolTip(text)
                    if column and text[:1] in "0123456789+-−":
                        item.setTextAlignment(_RIGHT)
                    self.setItem(at, column, item)
        head = self.horizontalHeader()
        assert head is not None
        shown = min(max(1, len(rows)), _MOST)
        self.setFixedHeight(head.sizeHint().height() + shown * _ROW + 4)
        self.setVisible(bool(rows))


class CaseTicks(PlainTable):
    """Cases that would be learnt from or judge; a tick lets one take part."""

    ticked = Signal(str, bool)

    def __init__(self, handle: str) -> None:
        super().__init__(
            handle,
            "Cases that were corrected or accepted, and labelled ones where labels "
            "teach. Take a tick away to leave one out",
            (
                ("Case", "Ticked cases take part", 0),
                ("Voxels", "That were reviewed; or slices that are labelled", 76),
                ("Used to", "Held-out cases judge, and are not learnt from", 78),
            ),
        )
        self._rows: list[tuple[str, str, str]] = []
        self.fill(self._rows)
        self.itemChanged.connect(self._tell)

    def show_cases(self, cases: Sequence[TrainCase], *, usable: bool) -> None:
        """Show these cases; `usable`: ticks can be changed."""
        # Rows that are the same stay: one of them may just have been ticked.
        rows = [
            (one.name, _reviewed(one), "judge" if one.held_out else "learn")
            for one in cases
        ]
        if rows != self._rows:
            self._rows = rows
            self.fill(rows)
        with quietly(self):
            for at, one in enumerate(cases):
                item = self.item(at, 0)
                assert item is not None
                flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
                if usable:
                    flags |= Qt.ItemFlag.ItemIsUserCheckable
                item.setFlags(flags)
                state = Qt.CheckState
                item.setCheckState(state.Checked if one.used else state.Unchecked)
                item.setData(_ID, one.id)
                if not one.whole:
                    item.setToolTip(f"{one.name}: {_what_counts(one)}")

    def _tell(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            used = item.checkState() == Qt.CheckState.Checked
            self.ticked.emit(str(item.data(_ID)), used)


def _reviewed(one: TrainCase) -> str:
    """Reviewed voxels, or the slices whose labels are all that teaches."""
    if one.voxels or not one.slices:
        return f"{one.voxels:,}"
    return f"{one.slices:,} slice{'s' * (one.slices != 1)}"


def _what_counts(one: TrainCase) -> str:
    if one.voxels or not one.slices:
        return "only what was reviewed counts"
    return "what was said of its slices counts"


class ClassTable(PlainTable):
    """Held-out Dice of each class, before and after."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            handle,
            "Dice of each structure on held-out cases, before and after",
            (
                ("Structure", "Of the model", 0),
                ("Before", "Mean Dice of the model as it was", 58),
                ("After", "Mean Dice of the model as it became", 58),
                ("Change", "After minus before; ▼ is worse than it may be", 72),
            ),
        )

    def show_classes(self, classes: Sequence[ClassChange]) -> None:
        """Show what became of each."""
        self.fill(
            [
                (
                    one.name,
                    f"{one.before:.3f}",
                    f"{one.after:.3f}",
                    f"{_signed(one.after - one.before)}{' ▼' if one.worse else ''}",
                )
                for one in classes
            ]
        )
        for at, one in enumerate(classes):
            item = self.item(at, 3)
            if item is not None and one.low is not None and one.high is not None:
                item.setToolTip(
                    f"90 % interval {one.low:+.3f} to {one.high:+.3f} over patients"
                )


def _signed(value: float) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    return f"{value:+.3f}" if round(value, 3) else "0.000"


class DiceTable(PlainTable):
    """Dice that is expected of the proposal at hand."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            handle,
            "Dice that is expected of the proposal at hand, before anyone draws",
            (
                ("Structure", "Of the proposal", 0),
                ("Expected", "By its own probabilities", 62),
                (
                    "Predicted",
                    "By the calibration; in nine of ten cases within the range",
                    108,
                ),
                (
                    "Rank corr.",
                    "Of the predicted with the real Dice, on patients held out",
                    70,
                ),
            ),
        )

    def show_lines(self, lines: Sequence[DiceLine]) -> None:
        """Show what is expected of each structure."""
        rows = []
        for one in lines:
            correlation = one.correlation.partition(" ")[0]
            rows.append(
                (one.structure, one.expected, one.predicted or "–", correlation or "–")
            )
        self.fill(rows)
        for at, one in enumerate(lines):
            item = self.item(at, 3)
            if item is not None and one.correlation:
                item.setToolTip(f"{one.correlation}: its 95 % interval in brackets")


class VersionTree(QTreeWidget):
    """Versions of a model, each below the one that it came from."""

    chosen = Signal(str)
    picked = Signal()

    def __init__(self, handle: str) -> None:
        super().__init__()
        named(
            self,
            handle,
            "Versions of the model, each below the one that it came from; ● is in "
            "use. Double click, or Enter, uses another",
        )
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setIndentation(14)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.itemActivated.connect(lambda item, _: self.chosen.emit(item.data(0, _ID)))
        self.currentItemChanged.connect(lambda *_: self.picked.emit())
        head = self.header()
        assert head is not None
        head.setStretchLastSection(True)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)

    @property
    def at_hand(self) -> str:
        """Name of the version that is marked, or ""."""
        item = self.currentItem()
        return "" if item is None else str(item.data(0, _ID))

    def show_versions(self, versions: Sequence[Version]) -> None:
        """Show the tree."""
        with quietly(self):
            self.clear()
            line: list[QTreeWidgetItem] = []
            for one in versions:
                sign = "● " if one.current else ""
                item = QTreeWidgetItem([f"{sign}{one.version}", one.line])
                item.setData(0, _ID, one.name)
                item.setSizeHint(1, QSize(0, _ROW))  # the other is as wide as its text
                for column in range(2):
                    item.setToolTip(column, f"{one.name}: {one.line}")
                if one.current:
                    font = QFont(self.font())
                    font.setBold(True)
                    item.setFont(0, font)
                del line[one.depth :]
                if line:
                    line[-1].addChild(item)
                else:
                    self.addTopLevelItem(item)
                line.append(item)
                if one.current:
                    self.setCurrentItem(item)
            self.expandAll()
        shown = min(max(1, len(versions)), _MOST)
        self.setFixedHeight(shown * _ROW + 6)
