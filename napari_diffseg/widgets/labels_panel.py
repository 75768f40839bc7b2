"""Panel "What is in it": structures, whether they are there, what is painted."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QLineEdit, QListWidget, QListWidgetItem

from diffseg.domain import Label, Presence
from napari_diffseg.widgets.label_row import LabelRow
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    Line,
    button,
    enable,
    named,
    quietly,
    row,
)
from napari_diffseg.widgets.presence_form import PresenceForm
from napari_diffseg.widgets.prompt_form import PromptForm

_ROWS = 8
_NEW_TIP = "Name of a new structure, then Enter"
_ADD_TIP = "Add a structure to draw"
_EMPTY = "Structures appear here with an image."
_LOCKED = "The mask cannot be changed here"


class LabelsPanel(Panel):
    """Image-level labels, names, colours, the active one; a `LabelsView`."""

    presence_given = Signal(str, object)
    label_chosen = Signal(int)
    renamed = Signal(int, str)
    recolored = Signal(int, str)
    added = Signal(str)

    def __init__(self) -> None:
        super().__init__(
            "labels", "What is in it", "Structures: present, absent, or not known"
        )
        self._list = named(
            QListWidget(),
            self.handle("list"),
            "Structures. The chosen one is what the brush paints",
        )
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setMinimumWidth(0)
        self._empty = Line(_EMPTY)
        self._new = named(QLineEdit(), self.handle("new"), _NEW_TIP)
        self._new.setPlaceholderText("New structure")
        self._add = button(self.handle("add"), "Add", _ADD_TIP)
        self.prompt = PromptForm("diffseg.labels")
        self.presence = PresenceForm("diffseg.labels")
        self.add(self._empty, self._list, row(self._new, self._add))
        self.add(self.prompt, self.presence)
        self._add.clicked.connect(self._tell_new)
        self._new.returnPressed.connect(self._tell_new)
        self._list.currentItemChanged.connect(lambda item: self._tell_chosen(item))
        self.show_labels((), 0, False)

    def _tell_new(self) -> None:
        name = self._new.text().strip()
        if name:
            self._new.clear()
            self.added.emit(name)
        else:
            self._new.setFocus(Qt.FocusReason.OtherFocusReason)

    def _tell_chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.label_chosen.emit(item.data(Qt.ItemDataRole.UserRole))

    def show_labels(
        self, rows: Sequence[tuple[Label, Presence]], active: int, editable: bool
    ) -> None:
        """Show every structure of the current case; editable: names and rows."""
        there = bool(rows)
        with quietly(self._list):
            # Rows stay where they can, so that the keyboard keeps its place.
            if [label.value for label, _ in rows] != self._values():
                self._make_rows([label for label, _ in rows])
            for index, (label, presence) in enumerate(rows):
                item = self._list.item(index)
                item.setData(Qt.ItemDataRole.AccessibleTextRole, label.name)
                active_row = label.value == active
                self._row(index).show_state(label, presence, active_row, editable)
                if active_row:
                    self._list.setCurrentItem(item)
        self._list.setVisible(there)
        self._empty.say("" if there else _EMPTY)
        for part, tip in ((self._new, _NEW_TIP), (self._add, _ADD_TIP)):
            part.setVisible(there)
            enable(part, editable, tip, _LOCKED)

    def _values(self) -> list[int]:
        return [
            self._list.item(index).data(Qt.ItemDataRole.UserRole)
            for index in range(self._list.count())
        ]

    def _row(self, index: int) -> LabelRow:
        shown = self._list.itemWidget(self._list.item(index))
        assert isinstance(shown, LabelRow)
        return shown

    def _make_rows(self, labels: Sequence[Label]) -> None:
        self._list.clear()
        height = 0
        for label in labels:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, label.value)
            shown = LabelRow(label)
            self._wire(shown, label.value)
            item.setSizeHint(shown.sizeHint())
            height += shown.sizeHint().height() if self._list.count() < _ROWS else 0
            self._list.addItem(item)
            self._list.setItemWidget(item, shown)
        self._list.setFixedHeight(height + 2)

    def _wire(self, shown: LabelRow, value: int) -> None:
        shown.presence_given.connect(
            lambda state: self.presence_given.emit(shown.label.name, Presence(state))
        )
        shown.renamed.connect(lambda name: self.renamed.emit(value, name))
        shown.color_wanted.connect(lambda: self._ask_color(shown.label))

    def _ask_color(self, label: Label) -> None:
        dialog = QColorDialog(QColor(label.color), self)
        dialog.setObjectName(self.handle("ask_color"))
        dialog.setWindowTitle(f"Colour of {label.name}")
        dialog.setOption(QColorDialog.ColorDialogOption.DontUseNativeDialog)
        if dialog.exec():
            self.recolored.emit(label.value, dialog.currentColor().name())
