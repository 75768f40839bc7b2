"""A part of a panel that folds to its headline."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.parts import UNIT, row


class FoldingForm(QWidget):
    """A headline and a body that is folded away at first.

    Parameters
    ----------
    prefix : str
        Of the handles.
    title, tip : str
        Of the headline.
    """

    looked = Signal(bool)

    def __init__(self, prefix: str, title: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(prefix)
        self._head = IconButton(f"{prefix}.fold", "chevron-right", tip, flat=True)
        self._head.setText(title)
        self._head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._head.setIconSize(QSize(10, 10))
        self._head.clicked.connect(lambda: self.fold(not self.folded))

    def _lay(self, body: QWidget) -> None:
        """Put the body under the headline."""
        self._body = body
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(UNIT // 2)
        layout.addLayout(row(self._head, 1))
        layout.addWidget(body)
        body.hide()

    @property
    def folded(self) -> bool:
        """Whether only the headline shows."""
        return self._body.isHidden()

    def fold(self, folded: bool) -> None:
        """Show only the headline, or all."""
        changed = folded != self.folded
        self._body.setVisible(not folded)
        self._head.set_icon("chevron-right" if folded else "chevron-down")
        if changed:
            self.looked.emit(not folded)
