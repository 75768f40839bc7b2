"""The part "Resample" of panel "Correct": what is chosen, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtWidgets import QAbstractButton, QDoubleSpinBox, QLabel, QProgressBar

from napari_diffseg.session import Busy
from napari_diffseg.views import Redraw
from napari_diffseg.widgets.correct_panel import CorrectPanel

pytestmark = pytest.mark.gui
HANDLE = "diffseg.correct.resample"


@pytest.fixture
def panel(qtbot: Any) -> CorrectPanel:
    made = CorrectPanel()
    qtbot.addWidget(made)
    made.show()
    return made


def find(panel: CorrectPanel, more: str = "", kind: Any = QAbstractButton) -> Any:
    found = panel.findChild(kind, HANDLE + more)
    assert found is not None
    return found


def test_what_is_chosen_is_told(panel: CorrectPanel) -> None:
    told: list[Redraw] = []
    panel.resample.run_requested.connect(told.append)
    run = find(panel)
    run.click()
    assert told == []  # not before it can be done
    panel.resample.set_ready(True, "")
    panel.resample.set_slices(True, True)
    run.click()
    find(panel, "_scope.volume").click()
    find(panel, "_keep.seen").click()
    find(panel, "_level", QDoubleSpinBox).setValue(0.35)
    run.click()
    assert told == [Redraw(), Redraw(False, "seen", 0.35)]


def test_seen_slices_are_a_projects(panel: CorrectPanel) -> None:
    panel.resample.set_slices(True, True)
    find(panel, "_keep.seen").click()
    panel.resample.set_slices(True, False)
    assert not find(panel, "_keep.seen").isEnabled()
    assert panel.resample.redraw.keep == "drawn"


def test_a_picture_has_neither_neighbours_nor_slices(panel: CorrectPanel) -> None:
    panel.resample.set_slices(False, False)
    assert panel.resample.redraw == Redraw(False, "strokes")
    assert not find(panel, "_scope.slice").isVisible()


def test_what_is_missing_and_what_is_done_is_shown(panel: CorrectPanel) -> None:
    form, run = panel.resample, find(panel)
    form.set_ready(False, "paint or erase first")
    assert not run.isEnabled()
    assert run.toolTip() == "paint or erase first"
    assert find(panel, "_why_not", QLabel).text() == "Paint or erase first"
    form.set_ready(True, "")
    assert run.isEnabled()
    assert "Key: Shift-G" in run.toolTip()
    form.set_busy(Busy("case", "brain: drawing", 0.5))
    assert not run.isEnabled()
    assert find(panel, "_progress", QProgressBar).value() == 500
    gone: list[bool] = []
    form.cancel_requested.connect(lambda: gone.append(True))
    find(panel, "_cancel").click()
    assert gone == [True]
    form.set_busy(None)
    assert run.isEnabled()
    assert not find(panel, "_cancel").isVisible()
