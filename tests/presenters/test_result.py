"""Volumes with their spread, views, and correcting."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.engine.events import Finished
from napari_diffseg.presenters.result import middle_of


@pytest.fixture
def proposed(window: Any, image: Path, card: Any, propose: Any) -> Any:
    window.desk.open(str(image))
    mask = np.zeros(window.case.volume.shape, np.uint8)
    mask[1:4, 2:6, 2:7] = 1
    window.views.propose.run_requested.emit()
    answer = replace(propose(window.case, mask, card), warnings=("doubt it",))
    window.runner.tell(Finished(answer))
    return window


def test_volumes_follow_corrections(proposed: Any) -> None:
    rows, note, _ = proposed.views.result.last("show_structures")
    label, report = rows[0]
    assert (label.name, report.voxels) == ("anterior", 60)
    assert report.volume_ml == pytest.approx(60 * 6 / 1000)
    assert "corrected" not in note
    proposed.draw((0, 0, slice(0, 5)), 1)
    rows, note, _ = proposed.views.result.last("show_structures")
    assert rows[0][1].voxels == 65
    assert rows[0][1].volume_ml_p95 == 1.1
    assert note.endswith("since corrected by hand")


def test_warnings_are_shown(proposed: Any) -> None:
    assert proposed.views.result.last("show_warnings") == (("doubt it",),)


def test_views_are_what_the_proposal_has(
    proposed: Any, card: Any, propose: Any
) -> None:
    every = ("mask", "contours", "uncertainty", "member")
    assert proposed.views.result.last("set_views") == (every, "mask", 4)
    proposed.views.result.view_chosen.emit("contours")
    assert proposed.canvas.last("show_as") == (proposed.case, "contours", 0)
    proposed.views.result.member_chosen.emit(2)
    assert proposed.canvas.last("show_as") == (proposed.case, "member", 2)
    proposed.views.result.member_chosen.emit(9)
    assert proposed.canvas.last("show_as") == (proposed.case, "member", 3)
    mask = proposed.case.annotation.values.copy()
    proposed.views.propose.run_requested.emit()
    alone = propose(proposed.case, mask, card, members=False)
    proposed.runner.tell(Finished(alone))
    assert proposed.views.result.last("set_views") == (
        ("mask", "uncertainty"),
        "mask",
        0,
    )
    count = len(proposed.canvas.all("show_as"))
    proposed.views.result.view_chosen.emit("member")
    assert len(proposed.canvas.all("show_as")) == count


def test_a_structure_is_gone_to(proposed: Any) -> None:
    proposed.views.result.structure_chosen.emit(1)
    case, voxel = proposed.canvas.last("go_to")
    assert case.annotation.values[voxel] == 1
    assert voxel[0] == 2
    before = len(proposed.canvas.all("go_to"))
    proposed.views.result.structure_chosen.emit(2)  # is not in the mask
    assert len(proposed.canvas.all("go_to")) == before


def test_the_middle_lies_within() -> None:
    ring = np.zeros((1, 5, 5), bool)
    ring[0, [0, 4]] = ring[0, :, [0, 4]] = True
    middle = middle_of(ring)
    assert middle is not None
    assert ring[middle]


def test_an_empty_window_shows_nothing(window: Any) -> None:
    assert window.views.result.last("show_structures")[:2] == ([], "")
    assert window.views.result.last("set_views") == (("mask",), "mask", 0)


def test_drawn_by_hand(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    assert window.views.result.last("show_structures")[:2] == ([], "")
    window.draw((0, 0, slice(0, 5)), 2)
    rows, note, _ = window.views.result.last("show_structures")
    assert [(label.name, one.voxels) for label, one in rows] == [("posterior", 5)]
    assert note == "drawn by hand"


def test_strokes_are_noted_at_once(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.canvas.dirty.emit(window.case.id)
    assert window.journal.last("note") == (window.case.id,)


def test_what_is_kept_is_told(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    assert window.views.correct.last("show_saved") == ("",)
    window.journal.on_kept(window.case.id, datetime(2026, 1, 2, 14, 3, 22))
    assert window.views.correct.last("show_saved") == ("saved on disk 14:03:22",)
    window.journal.on_kept("gone", datetime(2026, 1, 2, 15, 3, 22))
    assert window.views.correct.last("show_saved") == ("saved on disk 14:03:22",)
    window.journal.on_trouble("the disk is full")
    assert window.views.correct.last("show_saved") == ("not kept on disk",)
    assert "the disk is full" in window.troubles[-1]


def test_the_brush_is_in_millimetres(window: Any, image: Path) -> None:
    assert window.views.correct.last("set_enabled") == (False, "open an image first")
    window.desk.open(str(image))
    assert window.views.correct.last("set_enabled") == (True, "")
    radius, unit = window.views.correct.last("set_brush")
    assert unit == "mm"
    assert radius > 0
    window.views.correct.brush_changed.emit(5.0)
    assert window.canvas.last("set_brush") == (window.case, 5.0, False)
    window.views.correct.brush_3d_toggled.emit(True)
    assert window.canvas.last("set_brush") == (window.case, 5.0, True)
    window.views.correct.brush_changed.emit(0.0)
    assert window.canvas.last("set_brush") == (window.case, 5.0, True)


def test_tools_go_both_ways(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.views.correct.tool_chosen.emit("erase")
    assert window.canvas.last("set_tool") == ("erase",)
    window.canvas.tool_changed.emit("fill")
    assert window.views.correct.last("set_tool") == ("fill",)
    window.views.correct.undo_requested.emit()
    window.views.correct.redo_requested.emit()
    window.views.correct.hide_toggled.emit(True)
    names = [name for name, _ in window.canvas.calls[-3:]]
    assert names == ["undo", "redo", "set_hidden"]


def test_what_was_proposed_is_brought_into_sight(proposed: Any, propose: Any) -> None:
    window, case = proposed, proposed.case
    region = window.canvas.answers["slice_region"](case)
    window.canvas.answers["slice_region"] = lambda _: region
    mask = np.zeros(case.volume.shape, np.uint8)
    mask[4:6, 2:6, 2:7] = 1  # nothing of it in the slice that is looked at
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(propose(case, mask, window.desk.session.model)))
    moved = window.canvas.all("go_to")
    assert mask[moved[-1][1]] == 1
    mask[region.slices] = 1
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(propose(case, mask, window.desk.session.model)))
    assert window.canvas.all("go_to") == moved  # some of it is in sight


def test_nothing_proposed_is_looked_for_nowhere(proposed: Any, propose: Any) -> None:
    window, case = proposed, proposed.case
    case.annotation.values[5, 7, 9] = 1
    case.annotation.touched[5, 7, 9] = True
    moved = window.canvas.all("go_to")
    none = np.zeros(case.volume.shape, np.uint8)
    window.views.propose.answers["ask_replace"] = False
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(propose(case, none, window.desk.session.model)))
    assert window.canvas.all("go_to") == moved


def test_the_middle_is_found_without_a_list_of_all() -> None:
    generator = np.random.default_rng(0)
    for share in (0.001, 0.3):
        there = generator.random((40, 40, 40)) < share
        points = np.argwhere(there)
        away = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
        found = np.array(middle_of(there))
        assert there[tuple(found)]
        nearest = ((found - points.mean(axis=0)) ** 2).sum()
        assert nearest == pytest.approx(away.min())
    whole = np.ones((60, 60, 60), bool)
    tracemalloc.start()
    middle_of(whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * whole.size  # not 81 bytes a voxel
