"""Colours of the panels, taken from the theme that surrounds them."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QApplication, QWidget

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE = "#0072B2"
SKY = "#56B4E9"
AMBER = "#E69F00"
VERMILLION = "#D55E00"


def mix(one: str, other: str, share: float) -> str:
    """Colour between `one` (share 0) and `other` (share 1), as ``#rrggbb``."""
    a, b = QColor(one), QColor(other)
    return QColor(
        round(a.red() + (b.red() - a.red()) * share),
        round(a.green() + (b.green() - a.green()) * share),
        round(a.blue() + (b.blue() - a.blue()) * share),
    ).name()


@dataclass(frozen=True, slots=True)
class Tone:
    """The colours of one theme, as ``#rrggbb``.

    Everything is mixed from the theme's own window and text colours; the accent
    marks the one next thing to do, amber and red mark warnings and errors.
    """

    window: str
    text: str

    @classmethod
    def of(cls, widget: QWidget) -> Tone:
        """Read the theme that a widget stands in."""
        palette = widget.palette()
        group = QPalette.ColorGroup.Active  # Whether or not `widget` is enabled.
        return cls(
            palette.color(group, QPalette.ColorRole.Window).name(),
            palette.color(group, QPalette.ColorRole.WindowText).name(),
        )

    @property
    def dark(self) -> bool:
        """Whether the theme is light on dark."""
        return QColor(self.window).lightness() < 128

    @property
    def muted(self) -> str:
        """Text that steps back; still readable."""
        return mix(self.text, self.window, 0.30 if self.dark else 0.22)

    @property
    def faint(self) -> str:
        """Text of what cannot be used now."""
        return mix(self.text, self.window, 0.52)

    @property
    def hairline(self) -> str:
        """Thin lines between panels and rows."""
        return mix(self.window, self.text, 0.16)

    @property
    def field(self) -> str:
        """Ground of what can be typed into or chosen from."""
        if self.dark:
            return mix(self.window, "#000000", 0.32)
        return mix(self.window, "#ffffff", 0.70)

    @property
    def edge(self) -> str:
        """Edge of fields and buttons."""
        return mix(self.window, self.text, 0.24)

    @property
    def button(self) -> str:
        """Ground of a button."""
        return mix(self.window, self.text, 0.11)

    @property
    def hover(self) -> str:
        """Ground of a button under the mouse."""
        return mix(self.window, self.text, 0.19)

    @property
    def chosen(self) -> str:
        """Ground of the chosen one of several."""
        return mix(self.window, self.text, 0.30)

    @property
    def accent(self) -> str:
        """Ground of the one next thing to do."""
        return BLUE

    @property
    def focus(self) -> str:
        """Ring around what the keyboard speaks to; also lines in plots."""
        return SKY if self.dark else BLUE

    def tint(self, color: str, strength: float = 1.0) -> str:
        """Ground for a line of text that `color` marks."""
        return mix(self.window, color, strength * (0.16 if self.dark else 0.20))


def mark(widget: QWidget, name: str, value: object) -> None:
    """Set a property that the style sheet asks for, and let it take effect."""
    if widget.property(name) == value:
        return
    widget.setProperty(name, value)
    style = widget.style()
    if style is not None:
        style.unpolish(widget)
        style.polish(widget)
    # A frame measures its border anew only when it is told of the change.
    QApplication.sendEvent(widget, QEvent(QEvent.Type.StyleChange))
    widget.updateGeometry()
    widget.update()
