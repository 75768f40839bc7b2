"""Text that keeps to little room: cut with an ellipsis, whole in the tooltip."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import (
    QPaintEvent,
    QPalette,
    QResizeEvent,
    QShowEvent,
    QTextLayout,
    QTextOption,
)
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

from napari_diffseg.widgets.parts import Line, breakable, narrow, sentence


class Brief(Line):
    """A `Line` of a few lines at most; the tooltip tells all of it.

    Parameters
    ----------
    text, role, handle : str
        As for `Line`.
    most : int
        Lines, >= 1.
    """

    def __init__(
        self, text: str = "", role: str = "quiet", handle: str = "", *, most: int = 2
    ) -> None:
        self._most, self._whole = most, ""
        super().__init__(text, role, handle)

    def say(self, text: str) -> None:
        """Show the beginning of `text`; nothing at all for ""."""
        self._whole = sentence(text)
        self.setToolTip(self._whole)
        super().say(text)
        self._fit()

    def text(self) -> str:
        """What it says, with what is cut."""
        return self._whole

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cut anew."""
        super().resizeEvent(event)
        self._fit()

    def showEvent(self, event: QShowEvent) -> None:
        """Cut once the theme's font is known."""
        super().showEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        """Cut anew in another font."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()

    def _fit(self) -> None:
        shown = breakable(self._whole)
        width = self.contentsRect().width()
        if self.isVisible():
            shown = self._cut(shown, width)
        if shown != super(Line, self).text():
            self.setText(shown)
        self.setMaximumHeight(self._most * self.fontMetrics().lineSpacing() + 4)

    def _cut(self, text: str, width: int) -> str:
        """As much of `text` as its lines hold."""
        layout = QTextLayout(text, self.font())
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WordWrap)
        layout.setTextOption(option)
        layout.beginLayout()
        start, lines = 0, 0
        while (line := layout.createLine()).isValid():
            line.setLineWidth(width)
            lines += 1
            if lines == self._most:
                start = line.textStart()
        layout.endLayout()
        if lines <= self._most:
            return text
        rest = self.fontMetrics().elidedText(
            text[start:], Qt.TextElideMode.ElideRight, width - 4
        )
        return text[:start] + rest


class Choice(QComboBox):
    """A list of names that may be longer than the dock is wide."""

    def __init__(self) -> None:
        super().__init__()
        narrow(self)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the name with an ellipsis where it is cut."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        controls = QStyle.ComplexControl
        painter.drawComplexControl(controls.CC_ComboBox, option)
        field = self.style().subControlRect(
            controls.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        text = self.currentText()
        if self.currentIndex() < 0:
            text = self.placeholderText()
            faint = option.palette.placeholderText()
            option.palette.setBrush(QPalette.ColorRole.ButtonText, faint)
        option.currentText = self.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, field.width() - 4
        )
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
