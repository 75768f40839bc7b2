"""Questions that must be answered before the work goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import (
    QDialog,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.presenters.words import counted
from napari_diffseg.widgets.parts import UNIT, Line, button, named, row
from napari_diffseg.widgets.tone import mark


def choose_series(parent: QWidget, lines: Sequence[str]) -> int | None:
    """Ask which DICOM series to open; its index, or None if the user gave up."""
    dialog = SeriesQuestion(parent, lines)
    if dialog.exec() != QDialog.DialogCode.Accepted:
        return None
    return dialog.chosen


class SeriesQuestion(QDialog):
    """Which of several series.

    Parameters
    ----------
    lines : sequence of str
        One line a series.
    """

    def __init__(self, parent: QWidget | None, lines: Sequence[str]) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg.case.ask_series")
        self.setWindowTitle("Which series?")
        self.resize(UNIT * 70, UNIT * 40)
        says = Line(f"This folder holds {len(lines)} series. Open one:", role="plain")
        self._list = named(
            QListWidget(), "diffseg.case.ask_series.list", "Series in this folder"
        )
        self._list.addItems(list(lines))
        self._list.setProperty("plain", True)
        self._list.setCurrentRow(0)
        self._list.itemDoubleClicked.connect(lambda _: self.accept())
        take = button("diffseg.case.ask_series.open", "Open", "Open this series")
        mark(take, "primary", True)
        take.setDefault(True)
        take.setEnabled(bool(lines))
        take.clicked.connect(self.accept)
        leave = button("diffseg.case.ask_series.cancel", "Cancel", "Open nothing")
        leave.clicked.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(UNIT * 2, UNIT * 2, UNIT * 2, UNIT * 2)
        layout.setSpacing(UNIT)
        layout.addWidget(says)
        layout.addWidget(self._list)
        layout.addLayout(row(1, leave, take))

    @property
    def chosen(self) -> int:
        """Index of the series at hand."""
        return self._list.currentRow()


class Question(QDialog):
    """A question in a line, what hangs on it, and answers as buttons.

    Parameters
    ----------
    handle : str
        objectName; each button is ``<handle>.<key>``.
    title, text, detail : str
    answers : sequence of (key, text, tip)
        The last one is the first choice; Escape gives no answer.
    primary : bool
        Whether the last one is marked as the next thing to do.
    """

    def __init__(
        self,
        parent: QWidget | None,
        handle: str,
        title: str,
        texts: tuple[str, str],
        answers: Sequence[tuple[str, str, str]],
        primary: bool = True,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(handle)
        self.setWindowTitle(title)
        self.setMinimumWidth(UNIT * 52)
        self.answer = ""
        buttons = [self._button(handle, *answer) for answer in answers]
        mark(buttons[-1], "primary", primary)
        buttons[-1].setDefault(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(UNIT * 2, UNIT * 2, UNIT * 2, UNIT * 2)
        layout.setSpacing(UNIT)
        layout.addWidget(Line(texts[0], role="title"))
        layout.addWidget(Line(texts[1], role="plain"))
        layout.addStretch(1)
        layout.addSpacing(UNIT)
        layout.addLayout(row(1, *buttons))

    def _button(self, handle: str, key: str, text: str, tip: str) -> QPushButton:
        made = button(f"{handle}.{key}", text, tip)
        made.clicked.connect(lambda: self._take(key))
        return made

    def _take(self, key: str) -> None:
        self.answer = key
        self.accept()


def replace_question(
    parent: QWidget | None, touched: int, word: str = "voxel"
) -> Question:
    """Whether to replace what was drawn; keeping it is the first choice."""
    return Question(
        parent,
        "diffseg.propose.ask_replace",
        "Propose again",
        (
            "Replace what you drew?",
            f"You set {counted(touched, word)} by hand. A new proposal can leave them "
            "as they are, or replace them, too. Undo takes either back.",
        ),
        (
            ("cancel", "Cancel", "Propose nothing"),
            ("replace", "Replace it", "Change what was drawn, too"),
            ("keep", "Keep what I drew", "Change only what no one drew"),
        ),
    )


def overwrite_question(parent: QWidget | None, path: Path) -> Question:
    """Whether a file may be replaced; not to is the first choice."""
    return Question(
        parent,
        "diffseg.export.ask_overwrite",
        "Export",
        (f"Replace {path.name}?", f"The file is there already, in {path.parent}."),
        (
            ("replace", "Replace", "Write over it"),
            ("keep", "Keep it", "Write nothing"),
        ),
        primary=False,
    )


def taken_question(parent: QWidget | None, name: str, who: str, until: str) -> Question:
    """What to do about a case that somebody else works on; to leave it comes first."""
    return Question(
        parent,
        "diffseg.project.ask_taken",
        "Somebody works on it",
        (
            f"{who} works on {name}",
            f"Until {until} at least. You can look at it without changing it, or "
            "wait: it opens as soon as it is free.",
        ),
        (
            ("read", "Look only", "Open it; nothing can be changed"),
            ("wait", "Wait", "Open it as soon as it is free"),
            ("leave", "Leave it", "Do not open it"),
        ),
    )
