"""Panel "Train", the calibration, readings, and work beside the window, in Qt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QLineEdit

from diffseg.engine import Advanced, Failed, Stopped
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from napari_diffseg.jobs.threads import GuiThread
from napari_diffseg.jobs.works import Works
from napari_diffseg.views import (
    CalibrationFacts,
    ClassChange,
    DiceLine,
    Done,
    LearningCurve,
    Reliability,
    TrainCase,
    TrainState,
    TrainVerdict,
    Version,
    WeakState,
)
from napari_diffseg.widgets.calibration_form import CalibrationForm
from napari_diffseg.widgets.reading_form import ReadingForm
from napari_diffseg.widgets.train_panel import TrainPanel

pytestmark = pytest.mark.gui

CASES = (
    TrainCase("ida", "a", 12345, True, False),
    TrainCase("idb", "b", 480, True, True),
)
VERDICT = TrainVerdict(
    kept=False,
    model="hippocampus-mri@1.0.0+ft1",
    sentence="refused: worse than the tolerance of 0.01 Dice on anterior",
    classes=(
        ClassChange("anterior", 0.8, 0.7, -0.12, -0.08, 1, True),
        ClassChange("posterior", 0.8, 0.7999, None, None, 1, False),
    ),
    held_out=(("idb", "b"),),
)
VERSIONS = (
    Version("m@1", "1", 0, False, "as it was added"),
    Version("m@1+ft1", "1+ft1", 1, True, "learnt from 2 cases"),
    Version("m@1+ft2", "1+ft2", 1, False, "learnt from 3 cases"),
)


def test_a_case_that_teaches_by_labels_is_counted_in_slices(qtbot: Any) -> None:
    panel = TrainPanel()
    qtbot.addWidget(panel)
    said = TrainCase("idc", "c", 0, False, False, slices=1)
    panel.show_state(TrainState(cases=(*CASES, said)))
    table = panel._cases
    shown = [table.item(at, 1).text() for at in range(3)]
    assert shown == ["12,345", "480", "1 slice"]
    assert "was said of its slices" in table.item(2, 0).toolTip()


def press(qtbot: Any, widget: Any, handle: str) -> None:
    button = widget.findChild(QAbstractButton, handle)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def panel(qtbot: Any) -> TrainPanel:
    made = TrainPanel()
    qtbot.addWidget(made)
    made.show()
    made.fold(False)
    return made


def test_unfolding_tells_that_somebody_looks(qtbot: Any) -> None:
    made = TrainPanel()
    qtbot.addWidget(made)
    told: list[bool] = []
    made.looked.connect(told.append)
    assert made.folded
    press(qtbot, made, "diffseg.train.fold")
    press(qtbot, made, "diffseg.train.fold")
    assert told == [True, False]


def test_a_tick_leaves_a_case_out(qtbot: Any, panel: TrainPanel) -> None:
    ticked: list[Any] = []
    panel.case_ticked.connect(lambda *values: ticked.append(values))
    panel.show_state(TrainState(cases=CASES, line="learns"))
    table = panel._cases
    assert [table.item(0, c).text() for c in range(3)] == ["a", "12,345", "learn"]
    assert table.item(1, 2).text() == "judge"
    assert not ticked
    table.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    assert ticked == [("ida", False)]
    # The answer comes while the tick is still being told: the row must stay.
    left_out = (replace(CASES[0], used=False), CASES[1])
    item = table.item(0, 0)
    panel.case_ticked.connect(
        lambda *_: panel.show_state(TrainState(cases=(CASES[0], left_out[1])))
    )
    panel.show_state(TrainState(cases=left_out))
    item.setCheckState(Qt.CheckState.Checked)
    assert table.item(0, 0) is item
    assert ticked[-1] == ("ida", True)
    panel.show_state(TrainState(cases=CASES, running=True))
    flags = table.item(0, 0).flags()
    assert not flags & Qt.ItemFlag.ItemIsUserCheckable


def test_the_button_starts_with_what_is_set(qtbot: Any, panel: TrainPanel) -> None:
    told: list[Any] = []
    panel.run_requested.connect(lambda *values: told.append(values))
    panel.show_state(TrainState(why_not="no held-out case"))
    press(qtbot, panel, "diffseg.train.run")
    assert not told
    assert panel._why.text() == "No held-out case"
    panel.show_state(TrainState(cases=CASES))
    press(qtbot, panel, "diffseg.train.run")
    panel._minutes.setValue(2.5)
    panel._tolerance.setValue(0.02)
    press(qtbot, panel, "diffseg.train.run")
    assert told == [(None, 0.01, 0.0), (2.5, 0.02, 0.0)]


def test_weak_masks_train_what_is_chosen(qtbot: Any, panel: TrainPanel) -> None:
    told: list[Any] = []
    panel.self_train_requested.connect(lambda *values: told.append(values))
    panel.show_weak(WeakState(why_not="the chosen model learnt from masks", weak=False))
    assert panel._weak_box.isHidden()
    press(qtbot, panel, "diffseg.train.self_train")
    assert not told
    assert panel._self_train.toolTip() == "the chosen model learnt from masks"
    panel.show_weak(WeakState(("lgg-segdiff", "lgg-unet"), "4 weak masks"))
    assert panel._weak_line.text() == "4 weak masks"
    assert not panel._weak_box.isHidden()
    press(qtbot, panel, "diffseg.train.self_train")
    panel._recipe.setCurrentIndex(1)
    panel._minutes.setValue(2.5)
    panel.show_weak(WeakState(("lgg-segdiff", "lgg-unet"), "5 weak masks"))
    press(qtbot, panel, "diffseg.train.self_train")
    assert told == [("lgg-segdiff", None, 0.01, 0.0), ("lgg-unet", 2.5, 0.01, 0.0)]
    panel.show_state(TrainState(cases=CASES, running=True))
    assert not panel._self_train.isEnabled()
    panel.show_state(TrainState(cases=CASES))
    assert panel._self_train.isEnabled()


def test_while_it_learns_it_can_be_cancelled(qtbot: Any, panel: TrainPanel) -> None:
    told: list[str] = []
    panel.cancel_requested.connect(lambda: told.append("cancel"))
    panel.show_state(TrainState(cases=CASES, running=True))
    panel.show_progress("learning, loss 0.4", 0.25)
    assert panel._bar.value() == 250
    assert not panel._run.isVisible()
    press(qtbot, panel, "diffseg.train.cancel")
    assert told == ["cancel"]
    panel.show_progress("starting", None)
    assert panel._bar.maximum() == 0  # going on, who knows how far


def test_the_curve_is_drawn_where_its_values_are(panel: TrainPanel) -> None:
    plot = panel._plot
    assert plot.isHidden()
    curve = LearningCurve(((0, 1.0), (50, 0.5), (100, 0.25)), ((100, 0.8),), 100)
    panel.show_curve(curve)
    assert plot.isVisible()
    xs, ys = zip(*plot.placed_losses(), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)  # a smaller loss lies lower
    room = plot.ground
    assert xs[-1] <= room.right()
    ((x, y),) = plot.placed_scores()
    assert x == xs[-1]
    assert y == pytest.approx(room.center().y(), abs=1)
    image = plot.grab().toImage()  # draws without an error, and not nothing
    colours = {image.pixel(i, j) for i in range(0, 200, 3) for j in range(60)}
    assert len(colours) > 3


def test_a_refusal_stands_out_with_its_figures(qtbot: Any, panel: TrainPanel) -> None:
    told: list[Any] = []
    panel.compare_requested.connect(lambda *values: told.append(values))
    panel.show_verdict(VERDICT)
    assert panel._verdict.property("banner") == "warning"
    assert "worse than the tolerance" in panel._verdict.text()
    row = [panel._classes.item(0, c).text() for c in range(4)]
    assert row == ["anterior", "0.800", "0.700", "-0.100 ▼"]
    assert panel._classes.item(1, 3).text() == "0.000"
    press(qtbot, panel, "diffseg.train.side.after")
    press(qtbot, panel, "diffseg.train.side.off")
    assert told == [("idb", "after"), ("idb", "off")]
    panel.show_verdict(None)
    assert panel._ended.isHidden()


def test_versions_hang_in_a_tree(qtbot: Any, panel: TrainPanel) -> None:
    chosen: list[str] = []
    back: list[str] = []
    panel.version_chosen.connect(chosen.append)
    panel.rollback_requested.connect(lambda: back.append("back"))
    panel.show_versions(VERSIONS, "1")
    tree = panel._tree
    assert tree.topLevelItemCount() == 1
    root = tree.topLevelItem(0)
    assert [root.child(i).text(0) for i in range(2)] == ["● 1+ft1", "1+ft2"]
    assert panel._back.text() == "Back to 1"
    press(qtbot, panel, "diffseg.train.rollback")
    assert back == ["back"]
    assert not panel._use.isEnabled()  # the one at hand is in use
    tree.setCurrentItem(root)
    press(qtbot, panel, "diffseg.train.use")
    assert chosen == ["m@1"]
    panel.show_versions(VERSIONS[:1], "")
    assert not panel._back.isEnabled()


def test_reliability_is_drawn_and_chosen(qtbot: Any) -> None:
    form = CalibrationForm("diffseg.calibration")
    qtbot.addWidget(form)
    form.show()
    looked: list[bool] = []
    form.looked.connect(looked.append)
    press(qtbot, form, "diffseg.calibration.fold")
    assert looked == [True]
    line = ((0.1, 0.1), (0.9, 0.7))
    curves = (
        Reliability("likeliest class", line, line, (0.02, 0.01)),
        Reliability("anterior", line[:1], line, (0.03, 0.02)),
    )
    form.show_facts(CalibrationFacts("calibrated", curves))
    assert form._plot.isVisible()
    form._curves.setCurrentIndex(1)
    assert form._plot._found is curves[1]
    form.show_facts(CalibrationFacts("again", curves))
    assert form._curves.currentText() == "anterior"
    (left, low), (right, high) = form._plot.placed([(0, 0), (1, 1)])
    assert left < right
    assert low > high
    assert np.isfinite([left, low, right, high]).all()
    form._plot.grab()
    form.show_dice((DiceLine("anterior", "0.90", "0.85 (0.70–0.95)", "0.3 (0 to 1)"),))
    cells = [form._dice.item(0, c).text() for c in range(4)]
    assert cells == ["anterior", "0.90", "0.85 (0.70–0.95)", "0.3"]
    form.show_facts(CalibrationFacts("not calibrated"))
    assert form._plot.isHidden()


def test_calibrating_says_why_not(qtbot: Any) -> None:
    form = CalibrationForm("diffseg.calibration")
    qtbot.addWidget(form)
    form.fold(False)
    form.show()
    told: list[str] = []
    form.run_requested.connect(lambda: told.append("run"))
    form.cancel_requested.connect(lambda: told.append("cancel"))
    form.show_ready("", "1 patient is too few", running=False)
    press(qtbot, form, "diffseg.calibration.run")
    assert not told
    assert "1 patient" in form._said.text()
    form.show_ready("5 cases", "", running=False)
    press(qtbot, form, "diffseg.calibration.run")
    form.show_ready("case 1 of 5", "", running=True)
    press(qtbot, form, "diffseg.calibration.cancel")
    assert told == ["run", "cancel"]


def test_a_comment_that_is_typed_is_not_taken_away(qtbot: Any) -> None:
    form = ReadingForm("diffseg.project")
    qtbot.addWidget(form)
    told: list[str] = []
    form.comment_given.connect(told.append)
    free: dict[str, Any] = {"closed": "", "refused": "no", "second": False}
    form.show_reading("one", "read by anna", "old", **free)
    field = form.findChild(QLineEdit, "diffseg.project.comment")
    form.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    field.selectAll()
    qtbot.keyClicks(field, "new")
    form.show_reading("one", "read by anna", "old", **free)  # somebody refreshed it
    assert field.text() == "new"
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert told == ["new"]
    form.show_reading("two", "", "other", **free)
    assert field.text() == "other"
    assert not form._second.isEnabled()
    assert form._second.toolTip() == "no"


@pytest.fixture
def works(qtbot: Any) -> Iterator[Works]:
    gui = GuiThread()
    made = Works(gui)
    yield made
    gui.close()
    made.close()


def test_work_goes_on_beside_the_window(qtbot: Any, works: Works) -> None:
    events: list[Any] = []
    threads: list[Any] = []

    def work() -> Work[int]:
        threads.append(threading.current_thread())
        yield Progress("one")
        return 7

    works(work, lambda event: events.append((event, threading.current_thread())))
    qtbot.waitUntil(lambda: len(events) == 2)
    assert isinstance(events[0][0], Advanced)
    assert isinstance(events[1][0], Done)
    assert events[1][0].result == 7
    here = threading.current_thread()
    assert threads[0] is not here
    assert {thread for _, thread in events} == {here}


def test_cancelling_is_told_while_the_work_still_ends(qtbot: Any, works: Works) -> None:
    events: list[Any] = []
    ending, ended = threading.Event(), threading.Event()

    def work() -> Work[None]:
        try:
            while True:
                yield Progress("one")
        finally:  # as a process that takes its time
            ending.wait(20)
            ended.set()

    piece = works(work, events.append)
    qtbot.waitUntil(lambda: bool(events))
    piece.cancel()
    qtbot.waitUntil(lambda: isinstance(events[-1], Stopped))
    assert not ended.is_set()
    ending.set()
    assert ended.wait(20)
    qtbot.wait(20)
    assert sum(isinstance(one, Stopped) for one in events) == 1


def test_what_fails_is_told_in_a_line(qtbot: Any, works: Works) -> None:
    events: list[Any] = []

    def work() -> Work[None]:
        raise UserError("too few cases")
        yield

    works(work, events.append)
    qtbot.waitUntil(lambda: bool(events))
    assert isinstance(events[0], Failed)
    assert events[0].message == "too few cases"
    assert events[0].exit_status == 2
