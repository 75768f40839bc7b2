"""A panel: a headline that folds it, and a body below a hairline."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QLayout, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.parts import UNIT, hairline, row


class Panel(QWidget):
    """Base of the panels; its handle is ``diffseg.<name>``.

    Parameters
    ----------
    name : str
        As in the handles.
    title : str
        The headline.
    tip : str
        What the panel is for, in a line.
    """

    def __init__(self, name: str, title: str, tip: str) -> None:
        super().__init__()
        self.name = name
        self.setObjectName(f"diffseg.{name}")
        self.setAccessibleName(title)
        self.head = IconButton(self.handle("fold"), "chevron-down", tip)
        self.head.setAccessibleName(title)
        self.head.setText(title)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setIconSize(QSize(12, 12))
        self.head.setProperty("head", True)
        self.head.clicked.connect(lambda: self.fold(not self.folded))
        self._aside = QElidingLabel()
        self._aside.setProperty("role", "quiet")
        self._body = QWidget()
        self.body = QVBoxLayout(self._body)
        self.body.setContentsMargins(0, 0, 0, UNIT // 2)
        self.body.setSpacing(UNIT)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(UNIT * 3 // 2, 0, UNIT * 3 // 2, 0)
        whole.setSpacing(UNIT // 2)
        whole.addWidget(hairline())
        headline = row(self.head, self._aside)
        headline.setSpacing(UNIT // 2)
        headline.setStretch(1, 1)
        whole.addLayout(headline)
        whole.addWidget(self._body)

    def handle(self, action: str) -> str:
        """Handle of one of this panel's controls."""
        return f"diffseg.{self.name}.{action}"

    @property
    def folded(self) -> bool:
        """Whether only the headline shows."""
        return self._body.isHidden()

    def fold(self, folded: bool) -> None:
        """Show only the headline, or the whole panel."""
        self._body.setVisible(not folded)
        self.head.set_icon("chevron-right" if folded else "chevron-down")

    def add(self, *parts: QWidget | QLayout) -> None:
        """Put parts below what is there."""
        for part in parts:
            if isinstance(part, QLayout):
                self.body.addLayout(part)
            else:
                self.body.addWidget(part)

    def say_aside(self, text: str) -> None:
        """Show a grey word or two beside the headline."""
        self._aside.setText(text)
