"""Both readings of the case at hand: a part of panel "Project"."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_diffseg.widgets.parts import UNIT, Line, button, enable, named, quietly, row

_SECOND = (
    "Read this case a second time: it opens as it was proposed, and what the first "
    "reader drew is shown once you are done"
)
_MINE = "This is your second reading"
_COMMENT = "What you note of this case; Enter keeps it. It stays out of logs"


class ReadingForm(QWidget):
    """A comment, the way to a second reading, and agreement; a `ReadingView`."""

    second_requested = Signal()
    comment_given = Signal(str)

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.setObjectName(f"{prefix}.reading")
        self._comment = named(QLineEdit(), f"{prefix}.comment", _COMMENT)
        self._comment.setPlaceholderText("Comment")
        self._second = button(f"{prefix}.second", "Second reading", _SECOND)
        self._line = Line("", handle=f"{prefix}.agreement")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(UNIT * 3 // 4)
        line = row(self._comment, self._second)
        line.setStretch(0, 1)
        layout.addLayout(line)
        layout.addWidget(self._line)
        self._second.clicked.connect(lambda: self.second_requested.emit())
        self._comment.editingFinished.connect(
            lambda: self.comment_given.emit(self._comment.text())
        )
        self._about = ""
        self.hide_reading()

    def show_reading(
        self,
        about: str,
        line: str,
        comment: str,
        *,
        closed: str,
        refused: str,
        second: bool,
    ) -> None:
        """Show how the readings of a case stand; what is being typed stays."""
        self.show()
        typing = self._comment.hasFocus() and self._comment.isModified()
        if about != self._about or not typing:
            self._about = about
            with quietly(self._comment):
                self._comment.setText(comment)
        enable(self._comment, not closed, _COMMENT, closed)
        can = not refused and not second
        enable(self._second, can, _SECOND, refused or _MINE)
        self._line.say(line)

    def hide_reading(self) -> None:
        """Show nothing: no case of a project is at hand."""
        self.hide()
