"""A project from its making to its next opening, as a person goes through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Presence
from diffseg.progress import run
from diffseg.project import store

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def press(robot: Any, key: str) -> None:
    """Press one of our keys on the canvas."""
    from qtpy.QtTest import QTest

    widget = robot.canvas_widget()
    widget.setFocus()
    QTest.keySequence(widget, key)
    robot.qtbot.wait(50)


def open_first(robot: Any) -> Any:
    from qtpy.QtCore import Qt

    cases = robot.find("diffseg.project.list")
    robot.wait(lambda: cases.model().rowCount(), "the list is there")
    cases.selectRow(0)
    robot.qtbot.keyClick(cases, Qt.Key.Key_Return)
    robot.wait(lambda: robot.session.current is not None, "the case is open")
    return robot.session.current


def test_create_label_propose_correct_save_close_reopen(
    robot: Any, crop: Path, tmp_path: Path
) -> None:
    from qtpy.QtCore import Qt

    folder = tmp_path / "study"
    robot.find("diffseg.project.annotator").setText("anna")
    robot.find("diffseg.project.path").setText(str(folder))
    robot.click("diffseg.project.create")
    robot.wait(lambda: robot.session.project is not None, "the project is open")
    robot.window.dock.project.add_requested.emit([str(crop)])
    case = open_first(robot)
    entry = case.entry
    assert entry is not None
    project = robot.window.desk.books.ledger.project
    id = entry.origin.case

    # Where the structure starts and ends, with two keys, shown below the canvas.
    robot.window.canvas.go_to(case, (30, 20, 20))
    press(robot, "S")
    assert entry.begun is not None
    robot.window.canvas.go_to(case, (35, 20, 20))
    robot.find("diffseg.labels.range_state.absent").click()
    press(robot, "D")
    robot.wait(lambda: entry.said, "the range is kept")
    (said,) = store.statements_of(project, id)
    assert (said.slices, said.state) == ((30, 36), Presence.ABSENT)
    assert robot.window.dock.presence.lanes.isVisible()

    # A proposal is kept as it was made; what was said to be absent is not in hand.
    robot.find("diffseg.propose.members").setValue(3)
    robot.propose()
    robot.wait(lambda: case.proposal is not None, "there is a proposal")
    robot.wait_idle()
    robot.wait(lambda: entry.origin.proposal, "it is kept")
    (kept,) = store.proposals_of(project, id)
    assert kept.annotator == "anna"
    assert np.array_equal(store.read_proposed(project, kept), case.proposal.mask)
    value = case.table.values[case.table.names.index(said.label)]
    assert not (case.annotation.values[30:36] == value).any()

    # Strokes, a version, and on.
    robot.click("diffseg.correct.paint")
    robot.drag((0.4, 0.45), (0.6, 0.55))
    assert case.annotation.touched.any()
    assert entry.state == "in_progress"
    press(robot, "K")
    robot.wait(lambda: entry.version == 1, "a version is saved")
    robot.drag((0.4, 0.55), (0.6, 0.45))
    last = case.annotation.values.copy(), case.annotation.touched.copy()
    press(robot, "R")
    robot.wait(lambda: entry.version == 2, "the case is done")
    robot.click("diffseg.project.close")
    robot.wait(lambda: robot.session.project is None, "the project is closed")
    assert not robot.session.cases

    # All of it is there again.
    path = robot.find("diffseg.project.path")
    path.setText(str(folder))
    robot.qtbot.keyClick(path, Qt.Key.Key_Return)
    robot.wait(lambda: robot.session.project is not None, "it is open again")
    again = open_first(robot)
    assert np.array_equal(again.annotation.values, last[0])
    assert np.array_equal(again.annotation.touched, last[1])
    assert again.entry.state == "done"
    assert again.proposal is not None
    robot.window.desk.close()
    with store.open_project(folder) as found:
        assert run(store.check(found)).sound
