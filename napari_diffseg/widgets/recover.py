"""The question at the start: what to do with strokes that were left behind."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QDialog, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from napari_diffseg.views import Leftover
from napari_diffseg.widgets.parts import UNIT, Line, box, button, hairline, row
from napari_diffseg.widgets.segmented import Segmented
from napari_diffseg.widgets.tone import mark

_ANSWERS = (
    ("take", "Take up", "Open the image and go on where the strokes ended"),
    ("drop", "Throw away", "Forget these strokes for good"),
)
_SAYS = "These strokes were not exported before their window ended. They were kept."


class RecoverDialog(QDialog):
    """One line a leftover, each to be taken up or thrown away.

    Parameters
    ----------
    leftovers : sequence of Leftover
    """

    def __init__(self, leftovers: Sequence[Leftover], parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg.recover")
        self.setWindowTitle("Go on with your strokes?")
        self.resize(UNIT * 64, UNIT * 36)
        self._answers: dict[str, Segmented] = {}
        lines = QWidget()
        column = QVBoxLayout(lines)
        column.setContentsMargins(0, 0, UNIT, 0)
        column.setSpacing(UNIT)
        for place, leftover in enumerate(leftovers):
            column.addLayout(self._line(leftover, place))
            column.addWidget(hairline())
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(lines)
        go_on = button("diffseg.recover.go_on", "Go on", "Do what is chosen above")
        mark(go_on, "primary", True)
        go_on.setDefault(True)
        go_on.clicked.connect(self.accept)
        later = button("diffseg.recover.later", "Later", "Ask again next time")
        later.clicked.connect(self.reject)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(UNIT * 2, UNIT * 2, UNIT * 2, UNIT * 2)
        whole.setSpacing(UNIT * 2)
        whole.addWidget(Line(_SAYS, role="plain"))
        whole.addWidget(area, 1)
        whole.addLayout(row(1, later, go_on))

    def _line(self, leftover: Leftover, place: int) -> QHBoxLayout:
        answer = Segmented("diffseg.recover.answer", _ANSWERS, f".{place}")
        answer.show_current("take")
        answer.setMinimumWidth(UNIT * 22)
        self._answers[leftover.id] = answer
        voxels = f"{leftover.voxels:,} voxel{'s' if leftover.voxels != 1 else ''}"
        told = box(
            "",
            Line(leftover.name, role="title"),
            Line(f"{leftover.when}, {voxels} by hand"),
            spacing=2,
        )
        line = row(told, answer)
        line.setStretch(0, 1)
        return line

    @property
    def answers(self) -> dict[str, bool]:
        """For each leftover's id: take it up (True) or throw it away."""
        return {key: made.current == "take" for key, made in self._answers.items()}


class Recover(QObject):
    """Asks the question; a `RecoverView`."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window

    def ask_recover(self, leftovers: Sequence[Leftover]) -> dict[str, bool] | None:
        """Ask for each id: take it up (True) or throw it away; None is later."""
        dialog = RecoverDialog(leftovers, self._window)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return None
        return dialog.answers
