"""Small pieces that every panel is put together from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.widgets.tone import mark

UNIT = 8  # px of the grid
_BREAK = "\u200b"
_LONGEST = 32  # characters
_SELECTABLE = (
    Qt.TextInteractionFlag.TextSelectableByMouse
    | Qt.TextInteractionFlag.TextSelectableByKeyboard
)

Widget = TypeVar("Widget", bound=QWidget)


def named(widget: Widget, handle: str, tip: str) -> Widget:
    """Give a control its handle, and say what it does."""
    widget.setObjectName(handle)
    widget.setToolTip(tip)
    widget.setAccessibleName(tip.split(".")[0])
    return widget


def enable(widget: QWidget, enabled: bool, tip: str, why_not: str = "") -> None:
    """Let a control be used, or say why it cannot be."""
    widget.setEnabled(enabled)
    widget.setToolTip(tip if enabled or not why_not else why_not)


@contextmanager
def quietly(*widgets: QObject) -> Iterator[None]:
    """Change widgets without an intent being told."""
    blockers = [QSignalBlocker(widget) for widget in widgets]
    try:
        yield
    finally:
        for blocker in blockers:
            blocker.unblock()


def button(handle: str, text: str, tip: str) -> QPushButton:
    """Make a push button."""
    made = named(QPushButton(text), handle, tip)
    made.setAccessibleName(text or tip)
    return made


class Line(QLabel):
    """Text that wraps, can be selected, and takes no room when empty.

    Parameters
    ----------
    role : {"quiet", "plain", "title"}
    """

    def __init__(self, text: str = "", role: str = "quiet", handle: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(_SELECTABLE)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setProperty("role", role)
        self.setObjectName(handle)
        # Words as long as a path must not widen the dock.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.say(text)

    def say(self, text: str) -> None:
        """Show `text`; nothing at all for ""."""
        name = self.property("role") == "title"
        self.setText(breakable(text if name else sentence(text)))
        if self.parentWidget() is not None or not text:
            self.setVisible(bool(text))
        else:  # Shown with its parent, once it has one; not as a window of its own.
            shown = Qt.WidgetAttribute.WA_WState_ExplicitShowHide
            self.setAttribute(shown, False)

    def text(self) -> str:
        """What it says, without the places where a long name may break."""
        return super().text().replace(_BREAK, "")


class Banner(Line):
    """A lasting line with a colour: quiet, info, warning or error."""

    def tell(self, text: str, severity: str = "info") -> None:
        """Show `text` in the colour of its severity."""
        mark(self, "banner", severity)
        self.say(text)


def sentence(text: str) -> str:
    """Begin with a capital, unless the first word is a name of something."""
    first = text.split(" ", 1)[0]
    plain = first.isalpha() and first.islower()
    return text[0].upper() + text[1:] if plain else text


def breakable(text: str) -> str:
    """Let a name that is longer than the dock is wide break after a sign."""
    if not any(len(part) > _LONGEST for part in re.split(r"[\s/-]", text)):
        return text
    return re.sub(r"([_.;\\])", rf"\1{_BREAK}", text)


def hairline() -> QFrame:
    """A thin line across."""
    line = QFrame()
    line.setProperty("role", "hairline")
    line.setFixedHeight(1)
    return line


def key(text: str, width: int = 0) -> QLabel:
    """Make the grey name of a value or a field."""
    label = QLabel(text)
    label.setProperty("role", "key")
    if width:
        label.setFixedWidth(width)
    return label


def _filled(layout: QBoxLayout, parts: tuple[QWidget | QLayout | int, ...]) -> None:
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(UNIT)
    for part in parts:
        if isinstance(part, int):
            layout.addStretch(part)
        elif isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(part)


def row(*parts: QWidget | QLayout | int) -> QHBoxLayout:
    """Put parts side by side; a number is a stretch."""
    layout = QHBoxLayout()
    _filled(layout, parts)
    return layout


def box(handle: str, *parts: QWidget | QLayout | int, spacing: int = UNIT) -> QWidget:
    """Put parts below one another in a widget that can be hidden as one."""
    widget = QWidget()
    widget.setObjectName(handle)
    layout = QVBoxLayout(widget)
    _filled(layout, parts)
    layout.setSpacing(spacing)
    return widget


def fill_combo(
    combo: QComboBox, entries: list[tuple[str, str]], current: str | None
) -> None:
    """List (data, text) and choose `current` by its data, without an intent."""
    with quietly(combo):
        combo.clear()
        for data, text in entries:
            combo.addItem(text, data)
            combo.setItemData(combo.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
        combo.setCurrentIndex(combo.findData(current) if current is not None else -1)


def narrow(combo: QComboBox) -> QComboBox:
    """Let a list of long names be narrower than its names."""
    combo.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(4)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


class WheelGuard(QObject):
    """Keeps the wheel for scrolling: a field takes it only while it has the focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hand the wheel on to what lies below."""
        if (
            event.type() == QEvent.Type.Wheel
            and isinstance(watched, QWidget)
            and not watched.hasFocus()
        ):
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def guard(self, widget: QWidget) -> None:
        """Watch a field."""
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(self)
