"""The page that shows every key."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_diffseg.widgets.keys import (
    CORRECT,
    KEYS,
    LABEL,
    NAPARI_KEYS,
    PROJECT,
    PROPOSE,
    REVIEW,
    VIEW,
    Key,
)
from napari_diffseg.widgets.tone import Tone

_GROUPS = ((PROPOSE, REVIEW, CORRECT), (PROJECT, LABEL, VIEW))
_NOTE = (
    "Grey: napari's own. Keys work while the canvas or a panel has the focus, not "
    "while you type. Shift and the mouse move the cursor in every plane."
)


class KeysPage(QWidget):
    """Every key, ours and those of napari that an annotator needs, by what it is for.

    Parameters
    ----------
    parent : QWidget, optional
        The window that it floats over.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Dialog)
        self.setObjectName("diffseg.help.keys")
        self.setWindowTitle("Keys")
        self.setAccessibleName("Keys")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(20, 16, 20, 16)
        outer.setSpacing(12)
        columns = QHBoxLayout()
        columns.setSpacing(36)
        for groups in _GROUPS:
            columns.addLayout(self._column(groups))
        outer.addLayout(columns)
        note = QLabel(_NOTE)
        note.setWordWrap(True)
        note.setProperty("role", "quiet")
        outer.addWidget(note)
        self._dress()

    def show_over(self) -> None:
        """Show the page, or bring it to the front."""
        self.adjustSize()
        self.show()
        self.raise_()
        self.activateWindow()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Esc and ? close the page again."""
        if event is None:
            return
        if event.key() == Qt.Key.Key_Escape or event.text() == "?":
            self.close()
        else:
            super().keyPressEvent(event)

    def _column(self, groups: tuple[str, ...]) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(6)
        for at, group in enumerate(groups):
            if at:
                column.addSpacing(10)
            title = QLabel(group)
            title.setProperty("role", "title")
            column.addWidget(title)
            column.addLayout(self._grid(group))
        column.addStretch(1)
        return column

    def _grid(self, group: str) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(4)
        grid.setColumnMinimumWidth(0, 92)
        grid.setColumnStretch(1, 1)
        rows = [key for key in (*KEYS, *NAPARI_KEYS) if key.group == group]
        for row, key in enumerate(rows):
            grid.addLayout(_caps(key), row, 0)
            words = QLabel(f"{key.words} (hold)" if key.held else key.words)
            words.setProperty("role", "quiet" if key in NAPARI_KEYS else "words")
            grid.addWidget(words, row, 1)
        return grid

    def _dress(self) -> None:
        tone = Tone.of(self.parentWidget() or self)
        self.setStyleSheet(
            f"QLabel {{ background: transparent; padding: 0;"
            f" color: {tone.text}; }}"
            f'QLabel[role="title"] {{ font-weight: 600; }}'
            f'QLabel[role="quiet"] {{ color: {tone.muted}; }}'
            f'QLabel[role="cap"] {{ background: {tone.button};'
            f" border: 1px solid {tone.edge};"
            " border-bottom-width: 2px; border-radius: 4px; padding: 1px 7px; }"
        )


def _caps(key: Key) -> QHBoxLayout:
    """The key as caps, one beside the other."""
    line = QHBoxLayout()
    line.setSpacing(3)
    for part in key.keys.split("-"):
        cap = QLabel(part)
        cap.setProperty("role", "cap")
        cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
        line.addWidget(cap)
    line.addStretch(1)
    return line
