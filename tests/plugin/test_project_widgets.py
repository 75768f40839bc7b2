"""The project's list with thousands of cases, its controls, and labels by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QAbstractButton

from diffseg.domain import Label, Presence
from diffseg.project.entries import ProjectFacts, Row
from napari_diffseg.views import CaseStatus, LabelStrip
from napari_diffseg.widgets.case_list import CaseList
from napari_diffseg.widgets.label_strip import LabelLanes, runs_of
from napari_diffseg.widgets.project_panel import ProjectPanel

pytestmark = pytest.mark.gui


def row(number: int, **changes: Any) -> Row:
    given: dict[str, Any] = {
        "id": f"id{number}",
        "name": f"case{number:05}",
        "state": "not_started",
        "labels": (("anterior", Presence.PRESENT), ("posterior", Presence.ABSENT)),
        "versions": 1,
        "who": "bert",
        "held": True,
        "changed": 1.7e9,
    }
    return Row(**{**given, **changes})


def text(made: CaseList, at: int) -> list[str]:
    model = made.model()
    assert model is not None
    return [model.index(at, column).data() for column in range(model.columnCount())]


@pytest.fixture
def panel(qtbot: Any) -> ProjectPanel:
    made = ProjectPanel()
    qtbot.addWidget(made)
    made.show()
    return made


def test_ten_thousand_cases_make_no_widgets(qtbot: Any) -> None:
    made = CaseList("diffseg.project.list")
    qtbot.addWidget(made)
    made.show()
    rows = [row(number) for number in range(10_000)]
    before = len(made.findChildren(object))
    made.show_rows(rows, {"id0": 0.456}, "id9000")
    assert len(made.findChildren(object)) == before
    assert text(made, 0) == ["○", "case00000", "anterior, no posterior", "0.46", "bert"]
    assert text(made, 1)[3] == ""
    assert made.chosen == "id9000"
    bar = made.verticalScrollBar()
    assert bar is not None
    assert bar.value() > 8_000  # the open one is in sight
    made.show_rows(rows[::-1], {}, "id9000")
    assert made.chosen == "id9000"


def test_a_double_click_or_enter_opens_a_case(qtbot: Any) -> None:
    made = CaseList("diffseg.project.list")
    qtbot.addWidget(made)
    made.show()
    made.show_rows([row(0), row(1)], {}, None)
    wanted: list[str] = []
    made.case_requested.connect(wanted.append)
    place = made.visualRect(made.model().index(1, 1)).center()  # type: ignore[union-attr]
    left = Qt.MouseButton.LeftButton
    qtbot.mouseClick(made.viewport(), left, pos=place)
    qtbot.mouseDClick(made.viewport(), left, pos=place)
    assert wanted == ["id1"]
    qtbot.keyClick(made, Qt.Key.Key_Return)
    assert wanted == ["id1", "id1"]


def test_a_headline_sorts_and_sorts_back(qtbot: Any) -> None:
    made = CaseList("diffseg.project.list")
    qtbot.addWidget(made)
    told: list[tuple[str, bool]] = []
    made.sort_requested.connect(lambda column, down: told.append((column, down)))
    header = made.horizontalHeader()
    assert header is not None
    for section in (3, 3, 1):
        header.sectionClicked.emit(section)
    assert told == [("dice", False), ("dice", True), ("name", False)]


def test_the_panel_shows_what_can_be_done(qtbot: Any, panel: ProjectPanel) -> None:
    def button(name: str) -> QAbstractButton:
        found = panel.findChild(QAbstractButton, f"diffseg.project.{name}")
        assert found is not None
        return found

    assert button("create").isVisible()
    assert not button("add").isVisible()
    facts = ProjectFacts("study", Path("/there/study"), "anna", 3, {"done": 3})
    panel.show_project(facts)
    panel.show_rows([row(0)], {}, "id0")
    assert not button("create").isVisible()
    counts = panel.findChild(object, "diffseg.project.counts")
    assert counts.text() == "1 of 3 cases: 3 done"
    told: list[Any] = []
    panel.state_chosen.connect(told.append)
    panel.step_requested.connect(told.append)
    panel.show_case(
        CaseStatus("a", "in_progress", "version 2", unsaved=True, has_next=True)
    )
    assert button("save").isEnabled()
    assert not button("previous").isEnabled()
    qtbot.mouseClick(button("next"), Qt.MouseButton.LeftButton)
    qtbot.mouseClick(button("state.done"), Qt.MouseButton.LeftButton)
    assert told == [1, "done"]
    panel.show_case(CaseStatus("a", "done", "read-only", locked=True))
    assert not button("state.flagged").isEnabled()
    assert not button("save").isEnabled()


def test_a_typed_folder_is_opened_or_made(qtbot: Any, panel: ProjectPanel) -> None:
    told: list[tuple[str, str]] = []
    panel.open_requested.connect(lambda *given: told.append(given))
    panel.create_requested.connect(lambda *given: told.append(given))
    path = panel.findChild(object, "diffseg.project.path")
    who = panel.findChild(object, "diffseg.project.annotator")
    who.setText("anna")
    path.setText("/there")
    qtbot.keyClick(path, Qt.Key.Key_Return)
    button = panel.findChild(QAbstractButton, "diffseg.project.create")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert told == [("/there", "anna"), ("/there", "anna")]


def test_lanes_show_runs_and_lead_to_slices(qtbot: Any) -> None:
    codes = np.array([0, 1, 1, 0, 2], np.uint8)
    assert runs_of(codes) == [(1, 3, 1), (4, 5, 2)]
    assert runs_of(codes[:0]) == []
    made = LabelLanes("diffseg.labels.lanes")
    qtbot.addWidget(made)
    made.resize(640, made.height())
    label = Label(name="anterior", value=1, color="#ff0000")
    made.show_strips([LabelStrip(label, Presence.PRESENT, codes)], 0)
    made.show()
    picture = made.grab().toImage()

    def reds(index: float) -> bool:
        x = int(made._x_of(index + 0.5))
        return any(
            picture.pixelColor(x, y).red() > 200
            and picture.pixelColor(x, y).green() < 50
            for y in range(picture.height())
        )

    assert [reds(index) for index in range(5)] == [False, True, True, False, False]
    told: list[int] = []
    made.chosen.connect(told.append)
    place = QPointF(made._x_of(3.5), 6).toPoint()
    qtbot.mouseClick(made, Qt.MouseButton.LeftButton, pos=place)
    qtbot.keyClick(made, Qt.Key.Key_Right)
    assert told == [3, 1]
