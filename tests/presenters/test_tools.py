"""Tools that change a structure as a whole: shown, made as one step, dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Region
from napari_diffseg.views import BrushRange, Edit, EditState, Target

GROW = Edit("margin", "grow", 2.0)


@pytest.fixture
def opened(window: Any, image: Path) -> Any:
    """A window with a case in which a small box is drawn."""
    window.desk.open(str(image))
    window.canvas.answers["slice_axis"] = 0
    window.canvas.answers["correct"] = lambda case, change: correct(
        window, case, change
    )
    window.case.annotation.values[2:4, 3:5, 4:6] = 1
    return window


def correct(window: Any, case: Any, change: Any) -> None:
    case.annotation.values[change.indices] = change.after
    case.annotation.touched[change.indices] = True
    window.canvas.dirty.emit(case.id)
    window.canvas.edited.emit(case.id)


def state(window: Any) -> EditState:
    return window.views.correct.last("show_edit")[0]


def made(window: Any) -> list[Any]:
    return [change for _, change in window.canvas.all("correct")]


def test_a_preview_changes_nothing_until_it_is_applied(opened: Any) -> None:
    before = opened.case.annotation.values.copy()
    opened.views.correct.preview_requested.emit(GROW)
    _, change = opened.canvas.last("show_edit")
    assert np.array_equal(opened.case.annotation.values, before)
    assert state(opened).shown
    assert state(opened).said == f"would add {len(change)} voxels (green)"
    opened.journal.calls.clear()
    opened.views.correct.apply_requested.emit(GROW)
    assert made(opened) == [change]  # the very change that was shown
    assert opened.canvas.last("end_edit") == (opened.case.id,)
    assert state(opened) == EditState(f"added {len(change)} voxels")
    # As any stroke: kept on disk, marked, unsaved.
    assert opened.journal.all("note")
    assert opened.case.unsaved
    assert opened.case.annotation.touched[change.indices].all()


def test_apply_without_a_preview(opened: Any) -> None:
    opened.views.correct.apply_requested.emit(Edit("margin", "shrink", -1.0))
    assert "removed" in state(opened).said or state(opened).severity == "warning"
    opened.views.correct.apply_requested.emit(GROW)
    assert len(made(opened)[-1])
    assert not opened.canvas.all("show_edit")


def test_another_setting_shows_that_and_another_tool_drops(opened: Any) -> None:
    correct = opened.views.correct
    correct.preview_requested.emit(GROW)
    _, small = opened.canvas.last("show_edit")
    correct.edit_changed.emit(Edit("margin", "grow", 5.0))
    _, large = opened.canvas.last("show_edit")
    assert len(large) > len(small)
    correct.edit_changed.emit(Edit("holes", "volume"))
    assert state(opened) == EditState()
    assert opened.canvas.last("end_edit") == (opened.case.id,)
    assert len(opened.canvas.all("show_edit")) == 2
    correct.preview_requested.emit(GROW)
    correct.edit_dropped.emit()
    assert state(opened) == EditState()
    assert not made(opened)


def test_who_paints_meanwhile_is_not_painted_over(opened: Any) -> None:
    opened.background.held = True
    opened.views.correct.apply_requested.emit(GROW)
    assert state(opened).busy
    opened.case.annotation.values[5, 6, 8] = 1
    opened.canvas.dirty.emit(opened.case.id)
    opened.background.go_on()
    assert not made(opened), "of a mask that is no more"
    opened.background.go_on()
    (change,) = made(opened)
    values = opened.case.annotation.values
    assert values[5, 6, 9] == 1, "it grew from the latest stroke, too"
    assert (values[change.indices] == change.after).all()


def test_a_stroke_drops_what_is_shown(opened: Any) -> None:
    opened.views.correct.preview_requested.emit(GROW)
    opened.canvas.dirty.emit(opened.case.id)
    assert opened.canvas.last("end_edit") == (opened.case.id,)
    assert not state(opened).shown
    assert "preview again" in state(opened).said


def test_an_answer_that_was_dropped_comes_too_late(opened: Any) -> None:
    opened.background.held = True
    opened.views.correct.apply_requested.emit(GROW)
    opened.views.correct.edit_dropped.emit()
    opened.background.go_on()
    assert not made(opened)
    assert state(opened) == EditState()


def test_another_case_and_another_structure_drop_it(
    opened: Any, make_image: Callable[..., Path]
) -> None:
    first = opened.case
    opened.views.correct.preview_requested.emit(GROW)
    opened.views.labels.label_chosen.emit(2)
    assert opened.canvas.last("end_edit") == (first.id,)
    opened.views.labels.label_chosen.emit(1)
    opened.views.correct.preview_requested.emit(GROW)
    count = len(opened.canvas.all("end_edit"))
    opened.desk.open(str(make_image("other.nii.gz")))
    assert opened.canvas.all("end_edit")[count:] == [(first.id,)]
    assert not state(opened).shown


def test_what_cannot_be_is_said_in_a_line(opened: Any) -> None:
    opened.case.annotation.values[:] = 0
    opened.views.correct.apply_requested.emit(GROW)
    assert state(opened).severity == "warning"
    assert "is not drawn in this part of the mask" in state(opened).said
    opened.case.annotation.values[2:4, 3:5, 4:6] = 1
    opened.views.correct.preview_requested.emit(Edit("holes", "volume"))
    assert state(opened).said.startswith("nothing would change: other structures")
    assert not state(opened).shown
    opened.views.correct.apply_requested.emit(Edit("holes", "volume"))
    assert state(opened) == EditState("nothing has changed")
    assert not made(opened)


EDITS = [
    Edit("interpolate"),
    Edit("islands", "largest"),
    Edit("islands", "small", 13.0),
    Edit("holes", "slices"),
    Edit("smooth", "median", 2.0),
    Edit("smooth", "gaussian", 2.0, keep_volume=True),
    Edit("margin", "shrink", -1.0),
    Edit("combine", "union", other="mask 2", into=2),
    Edit("combine", "difference", other="proposal 1"),
    Edit("copy", "next", 2.0),
    Edit("copy", "previous", 1.0),
]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("edit", EDITS, ids=lambda one: f"{one.tool} {one.how}")
def test_every_tool_runs(opened: Any, edit: Edit, whole: bool) -> None:
    from dataclasses import replace

    values = opened.case.annotation.values
    values[:] = 0
    values[2, 1:7, 1:8] = 1
    values[2, 3, 4] = 0
    values[4, 1:7, 1:8] = 1
    values[2, 7, 9] = 1
    values[5, 0, 0] = 2
    opened.case.annotation.proposed = (values > 0).astype(np.uint8)
    opened.case.annotation.proposed[2, 1, 1] = 0
    before = values.copy()
    opened.views.correct.apply_requested.emit(replace(edit, whole=whole))
    assert state(opened).severity == "quiet", state(opened).said
    moved = values != before
    assert moved.any() or (edit.how, whole) in {("union", False)}
    if not whole and edit.tool not in ("interpolate", "copy"):
        assert not np.delete(moved, 2, axis=0).any()


def test_next_is_where_one_leafs_to(opened: Any) -> None:
    """The image lies the other way round than it is shown."""
    case = opened.case
    case.annotation.values[2] = 0
    opened.canvas.answers["slice_region"] = Region((3, 4), (0, 8), (0, 10))
    turn = case.display.turn
    forward = not turn.flips[turn.axes.index(0)]
    opened.views.correct.apply_requested.emit(Edit("copy", "next", 1.0))
    (change,) = made(opened)
    assert set(change.indices[0].tolist()) == {4 if forward else 2}


def test_the_panel_knows_what_tools_work_on(opened: Any, tmp_path: Path) -> None:
    (target,) = opened.views.correct.last("set_target")
    assert target.name
    assert (target.unit, target.flat) == ("mm", False)
    opened.views.labels.added.emit("lesion")
    (target,) = opened.views.correct.last("set_target")
    assert target.name == "lesion"
    opened.desk.session.remove(opened.case.id)
    assert opened.views.correct.last("set_target") == (Target(),)


def test_a_brush_keeps_to_its_range_from_case_to_case(
    opened: Any, make_image: Callable[..., Path]
) -> None:
    (first,) = opened.views.correct.last("set_range")
    assert first.paints == "all"
    assert first.low < first.high
    opened.views.correct.range_changed.emit(BrushRange("range", 3.0, 9.0))
    assert opened.canvas.last("set_range") == (BrushRange("range", 3.0, 9.0),)
    opened.desk.open(str(make_image("other.nii.gz")))
    assert opened.canvas.last("set_range") == opened.views.correct.last("set_range")
    assert opened.canvas.last("set_range")[0].paints == "range"
