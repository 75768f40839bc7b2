"""One structure in the list: colour, name, and whether it is in the image."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QShowEvent,
)
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QWidget,
)
from superqt import QElidingLabel

from diffseg.domain import Label, Presence
from napari_diffseg.widgets.icons import pixmap
from napari_diffseg.widgets.parts import UNIT, enable, named, quietly
from napari_diffseg.widgets.segmented import Segmented
from napari_diffseg.widgets.tone import Tone, mark

_PRESENCE = (
    ("present", "present", "It is in this image"),
    ("absent", "absent", "It is not in this image; it will not be proposed"),
    ("unknown", "?", "Nothing is said; the model decides"),
)
_WIDTHS = {"present": 60, "absent": 54, "unknown": 26}
_LOCKED = "The mask cannot be changed here"
_COLOR_TIP = "Colour of the structure. Click to choose another"
_NAME_TIP = "Click to paint with it, double-click to rename it"


class Swatch(QToolButton):
    """A square of colour that can be clicked."""

    def __init__(self, handle: str, color: str) -> None:
        super().__init__()
        named(self, handle, _COLOR_TIP)
        self.setFixedSize(20, 20)
        self.color = color

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the square."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        tone = Tone.of(self)
        focused = self.hasFocus() or self.underMouse()
        painter.setPen(QPen(QColor(tone.text if focused else tone.edge), 1))
        painter.setBrush(QColor(self.color))
        painter.drawRoundedRect(self.rect().adjusted(3, 3, -3, -3), 3, 3)


class LabelRow(QWidget):
    """A structure's row; tells what the user does to it."""

    presence_given = Signal(str)  # present, absent, unknown
    color_wanted = Signal()
    renamed = Signal(str)

    def __init__(self, label: Label) -> None:
        super().__init__()
        value = label.value
        self.label, self._editable, self._active = label, False, False
        self._swatch = Swatch(f"diffseg.labels.color.{value}", label.color)
        self._swatch.clicked.connect(self.color_wanted)
        self._build_name(value)
        self._presence = Segmented("diffseg.labels.presence", _PRESENCE, f".{value}")
        self._presence.chosen.connect(self.presence_given)
        for choice, width in _WIDTHS.items():
            self._presence.button(choice).setFixedWidth(width)
        self.setProperty("clear", True)
        self._presence.setProperty("clear", True)
        self._brush = QLabel()
        self._brush.setFixedSize(16, 16)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(UNIT // 2, 2, UNIT // 2, 2)
        layout.setSpacing(UNIT // 2)
        layout.addWidget(self._swatch)
        layout.addWidget(self._names, 1)
        layout.addWidget(self._brush)
        layout.addWidget(self._presence)

    def _build_name(self, value: int) -> None:
        self._name = named(QElidingLabel(), f"diffseg.labels.name.{value}", _NAME_TIP)
        self._edit = named(
            QLineEdit(), f"diffseg.labels.rename.{value}", "New name, then Enter"
        )
        self._edit.editingFinished.connect(self._finish)
        self._names = QStackedWidget()
        self._names.setProperty("clear", True)
        self._names.addWidget(self._name)
        self._names.addWidget(self._edit)
        self._names.setMinimumWidth(40)
        policy = QSizePolicy.Policy
        self._names.setSizePolicy(policy.Ignored, policy.Fixed)
        self._names.setFixedHeight(26)

    def show_state(
        self, label: Label, presence: Presence, active: bool, editable: bool
    ) -> None:
        """Show a structure; `active` is the one to paint with."""
        self.label, self._editable, self._active = label, editable, active
        self._swatch.color = label.color
        enable(self._swatch, editable, _COLOR_TIP, _LOCKED)
        self._swatch.update()
        self._name.setText(label.name)
        self._name.setToolTip(f"{label.name}. {_NAME_TIP if editable else _LOCKED}")
        mark(self._name, "role", "title" if active else "plain")
        if self._names.currentWidget() is self._name:
            self._edit.setText(label.name)
        self._presence.show_current(presence.value)
        self._mark_active()

    def sizeHint(self) -> QSize:
        """As wide as the list, as high as a button."""
        return QSize(UNIT * 30, UNIT * 4)

    def showEvent(self, event: QShowEvent) -> None:
        """Draw the brush in the theme's colour."""
        super().showEvent(event)
        self._mark_active()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._mark_active()

    def _mark_active(self) -> None:
        if self._active:
            self._brush.setPixmap(pixmap("paint", Tone.of(self).text))
            self._brush.setToolTip("The brush paints this structure")
        else:
            self._brush.clear()
            self._brush.setToolTip("")

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Start renaming."""
        if self._editable:
            self.edit()

    def edit(self) -> None:
        """Let the name be typed."""
        self._names.setCurrentWidget(self._edit)
        self._edit.setFocus(Qt.FocusReason.OtherFocusReason)
        self._edit.selectAll()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Give up renaming on Escape."""
        escaped = event.key() == Qt.Key.Key_Escape
        if escaped and self._names.currentWidget() is self._edit:
            self._edit.setText(self.label.name)
            self._finish()
        else:
            super().keyPressEvent(event)

    def _finish(self) -> None:
        if self._names.currentWidget() is not self._edit:
            return
        name = self._edit.text().strip()
        with quietly(self._edit):
            self._names.setCurrentWidget(self._name)
        if name and name != self.label.name:
            self.renamed.emit(name)
        else:
            self._edit.setText(self.label.name)
