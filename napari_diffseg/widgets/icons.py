"""Line icons in the colour of the text around them."""

from __future__ import annotations

from functools import cache

from qtpy.QtCore import QByteArray, QEvent, QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPainter, QPixmap, QShowEvent
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QToolButton, QWidget

from diffseg.resources import resource
from napari_diffseg.widgets.tone import Tone

_SHARPNESS = 3  # Pixels a unit: sharp on any screen.


@cache
def drawing(name: str) -> str:
    """Source of the shipped icon `name`; its lines are ``currentColor``."""
    return resource("icons", f"{name}.svg").read_text(encoding="utf-8")


@cache
def _picture(name: str, color: str, size: int) -> QImage:
    # An image may outlive the application; a pixmap must not.
    content = drawing(name).replace("currentColor", color).encode()
    side = size * _SHARPNESS
    picture = QImage(side, side, QImage.Format.Format_ARGB32_Premultiplied)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(content)).render(painter)
    painter.end()
    return picture


def pixmap(name: str, color: str, size: int = 16) -> QPixmap:
    """Draw an icon in `color` (``#rrggbb``), `size` x `size` device-independent px."""
    picture = QPixmap.fromImage(_picture(name, color, size))
    picture.setDevicePixelRatio(_SHARPNESS)
    return picture


def icon(name: str, tone: Tone, color: str | None = None) -> QIcon:
    """Make an icon for a theme; `color` instead of the text's colour."""
    made = QIcon()
    made.addPixmap(pixmap(name, color or tone.text), QIcon.Mode.Normal)
    made.addPixmap(pixmap(name, tone.faint), QIcon.Mode.Disabled)
    return made


class IconButton(QToolButton):
    """A button with an icon that follows the theme.

    Parameters
    ----------
    handle : str
        objectName.
    name : str
        Icon.
    tip : str
        What it does; also its accessible name.
    flat : bool
        Without a frame until the mouse is over it.
    """

    def __init__(
        self,
        handle: str,
        name: str,
        tip: str,
        *,
        flat: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._name, self._tone = name, ""
        self._color: str | None = None
        self.setObjectName(handle)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setIconSize(QSize(16, 16))
        self.setProperty("flat", flat)

    def set_icon(self, name: str, color: str | None = None) -> None:
        """Show another icon, in `color` or the text's."""
        self._name, self._color, self._tone = name, color, ""
        self._tint()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() in (
            QEvent.Type.StyleChange,
            QEvent.Type.PaletteChange,
        ):
            self._tint()

    def showEvent(self, event: QShowEvent) -> None:
        """Take the theme's colours before the first look."""
        super().showEvent(event)
        self._tint()

    def _tint(self) -> None:
        tone = Tone.of(self)
        key = f"{tone.window}{tone.text}"
        if key != self._tone:
            self._tone = key
            self.setIcon(icon(self._name, tone, self._color))
