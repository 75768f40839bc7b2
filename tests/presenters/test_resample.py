"""Drawing anew around strokes: what is asked, what stays, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Region
from diffseg.engine.events import Advanced, Finished
from diffseg.progress import Progress
from napari_diffseg.views import Redraw


@pytest.fixture
def opened(window: Any, image: Path) -> Any:
    """A case with a mask that was proposed, and slice 2 in sight."""
    window.desk.open(str(image))
    window.case.annotation.values[1:5, 2:6, 2:7] = 1
    return window


@pytest.fixture
def at(opened: Any) -> Callable[[int], None]:
    """Look at a plane."""

    def go(plane: int) -> None:
        opened.canvas.answers["slice_region"] = lambda case: Region(
            (plane, plane + 1), (0, 8), (0, 10)
        )

    return go


def ask(window: Any, **wanted: Any) -> Any:
    """Press the button; the request that was sent."""
    before = len(window.runner.jobs)
    window.views.resample.run_requested.emit(Redraw(**wanted))
    assert len(window.runner.jobs) == before + 1, window.said
    return window.runner.jobs[-1][0].request


def refused(window: Any, **wanted: Any) -> str:
    window.views.resample.run_requested.emit(Redraw(**wanted))
    assert not window.runner.jobs
    assert window.session.busy is None
    return str(window.said[-1])


def answer(window: Any, propose: Any, card: Any, mask: Any, **changes: Any) -> None:
    window.runner.tell(Finished(propose(window.case, mask, card, **changes)))


def test_a_request_says_what_was_drawn_and_from_where(opened: Any) -> None:
    opened.draw((2, 3, slice(2, 5)), 2)
    opened.draw((2, 4, slice(2, 4)), 0)
    values = opened.case.annotation.values.copy()
    opened.views.propose.settings_changed.emit(3, 1, 9)
    request = ask(opened, keep="strokes", level=0.4)
    dense = request.strokes.dense()
    assert np.count_nonzero(dense) == 5
    assert (dense[2, 3, 2:5] == 2).all()
    assert (dense[2, 4, 2:4] == 255).all()
    assert np.array_equal(request.initial_mask, values)
    assert request.initial_mask is not opened.case.annotation.values
    assert (request.members, request.steps, request.seed) == (3, 1, 9)
    assert (request.noise_level, request.region) == (0.4, None)
    assert request.resampling.way == "regression"
    assert request.keep_members


def test_without_a_number_the_level_is_the_models(opened: Any) -> None:
    opened.draw((2, 3, 3), 2)
    assert ask(opened).noise_level is None


def test_slices_that_were_drawn_in_are_kept_as_a_whole(opened: Any) -> None:
    opened.draw((2, 3, 3), 2)
    dense = ask(opened).strokes.dense()
    assert dense[2].all()
    assert np.count_nonzero(dense) == dense[2].size
    assert (dense[2, 4, 4], dense[2, 0, 0]) == (1, 255)


def test_of_a_large_slice_only_what_is_near_the_strokes_is_told(
    window: Any, make_image: Any
) -> None:
    window.desk.open(str(make_image(shape=(6, 40, 60))))
    window.draw((2, 20, 30), 1)  # voxels of 3 x 2 x 1 mm, of which 8 mm are told
    dense = ask(window).strokes.dense()
    rows, columns = (np.flatnonzero(dense[2].any(axis=a)) for a in (1, 0))
    assert (rows[0], rows[-1]) == (16, 24)
    assert (columns[0], columns[-1]) == (22, 38)


def test_the_answer_is_one_step_and_touches_nothing_that_is_kept(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.draw((2, 3, 3), 2)
    before = opened.case.annotation.values.copy()
    ask(opened)
    answer(opened, propose, card, np.full(before.shape, 2, np.uint8))
    values, touched = opened.case.annotation.values, opened.case.annotation.touched
    assert len(opened.canvas.all("apply")) == 1
    assert np.array_equal(values[2], before[2])  # drawn in
    assert np.array_equal(values[5], before[5])  # no neighbour
    assert (values[[0, 1, 3, 4]] == 2).all()
    assert touched.sum() == 1
    assert not opened.views.propose.all("ask_replace")
    assert opened.case.proposed_in == Region((0, 5), (0, 8), (0, 10))
    assert opened.journal.last("note") == (opened.case.id,)
    assert "drawn anew around your strokes by hippocampus-mri" in opened.said[-1]
    assert opened.session.busy is None


def test_of_the_volume_all_but_the_strokes_may_change(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.draw((2, 3, 3), 2)
    ask(opened, near=False, keep="strokes")
    answer(opened, propose, card, np.ones(opened.case.volume.shape, np.uint8))
    values = opened.case.annotation.values
    assert values[2, 3, 3] == 2
    assert np.count_nonzero(values != 1) == 1


def test_what_is_drawn_and_undone_meanwhile_holds(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.draw((2, 3, 3), 2)
    opened.draw((2, 3, 5), 2)
    ask(opened, keep="strokes")
    opened.draw((3, 0, slice(0, 4)), 1)
    note = opened.case.annotation
    note.values[2, 3, 5], note.touched[2, 3, 5] = 1, False  # undone
    answer(opened, propose, card, np.full(note.values.shape, 2, np.uint8))
    assert (note.values[3, 0, :4] == 1).all()
    assert (note.values[2, 3, 5], note.values[2, 3, 3]) == (1, 2)
    assert (note.values[3, 0, 4:] == 2).all()


def test_a_mask_from_a_file_may_change(opened: Any, card: Any, propose: Any) -> None:
    case = opened.case
    case.given = case.annotation.values.copy()
    opened.draw((2, 3, 3), 2)
    ask(opened, keep="strokes")
    answer(opened, propose, card, np.full(case.volume.shape, 2, np.uint8))
    assert (case.annotation.values[:5] == 2).all()


def test_a_structure_that_the_model_does_not_know_stays(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.views.labels.added.emit("my own")
    value = max(opened.case.table.values)
    assert value not in card.labels.values
    opened.case.annotation.values[2, 3, 4] = value
    opened.draw((2, 3, slice(3, 6, 2)), 2)
    request = ask(opened, keep="strokes")
    assert request.initial_mask[2, 3, 4] == 0
    assert request.strokes.dense()[2, 3, 4] == 255
    answer(opened, propose, card, np.full(opened.case.volume.shape, 1, np.uint8))
    assert opened.case.annotation.values[2, 3, 3:6].tolist() == [2, value, 2]


def test_which_slices_are_kept(opened: Any, at: Any) -> None:
    presenter, case = opened.desk.resample, opened.case
    opened.draw((2, 3, 3), 2)
    at(4)
    opened.draw((4, 3, 3), 2)
    case.accepted = ((1, 3, 3),)
    assert presenter.whole_slices(case, "strokes") == set()
    drawn = {(0, 1), (0, 2), (0, 4)}
    assert presenter.whole_slices(case, "drawn") == drawn
    assert presenter.whole_slices(case, "seen") == drawn
    case.entry = SimpleNamespace(seen={(1, 5)}, origin=None)
    assert presenter.whole_slices(case, "seen") == drawn | {(1, 5)}
    case.entry = None


def test_strokes_far_from_the_slice_do_not_count(window: Any, make_image: Any) -> None:
    window.desk.open(str(make_image(shape=(60, 8, 10))))
    window.draw((2, 3, 3), 1)
    window.draw((50, 3, 3), 1)
    dense = ask(window, keep="strokes").strokes.dense()
    assert np.flatnonzero(dense.any(axis=(1, 2))).tolist() == [2]
    window.views.resample.cancel_requested.emit()
    dense = ask(window, keep="strokes", near=False).strokes.dense()
    assert np.flatnonzero(dense.any(axis=(1, 2))).tolist() == [2, 50]


def test_a_model_of_slices_is_told_the_strokes_of_these_slices(
    make_window: Any, make_card: Any, make_image: Any
) -> None:
    from diffseg.domain import Preparation

    flat = make_card("slices", "it", preparation=Preparation(dims=2))
    window = make_window(flat)
    window.views.model.model_chosen.emit("slices@1")
    window.desk.open(str(make_image(shape=(12, 8, 10))))
    window.draw((slice(1, 8), 3, 3), 1)
    dense = ask(window, keep="strokes").strokes.dense()
    assert np.flatnonzero(dense.any(axis=(1, 2))).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("method", ["feedforward", "latent"])
def test_models_that_denoise_no_masks_are_refused(
    make_window: Any, make_card: Any, image: Path, method: str
) -> None:
    window = make_window(make_card("other", "it", method=method))
    window.views.model.model_chosen.emit("other@1")
    window.desk.open(str(image))
    window.draw((2, 3, 3), 1)
    ready, why = window.views.resample.last("set_ready")
    assert not ready
    assert "choose a diffusion model of masks, such as hippocampus-mri" in why
    assert refused(window) == f"brain: {why}"
    window.views.model.model_chosen.emit("hippocampus-mri@1")
    assert window.views.resample.last("set_ready") == (True, "")


def test_what_is_missing_is_said(opened: Any) -> None:
    view = opened.views.resample
    assert view.last("set_ready")[1].startswith("paint or erase first")
    assert "paint or erase first" in refused(opened)
    opened.draw((2, 3, 3), 2)
    assert view.last("set_ready") == (True, "")


def test_where_nothing_was_drawn_it_is_refused(window: Any, make_image: Any) -> None:
    window.desk.open(str(make_image(shape=(60, 8, 10))))
    window.draw((40, 3, 3), 1)  # and slice 2 is looked at
    assert "nothing was drawn or erased near this slice" in refused(window)
    assert ask(window, near=False) is not None


def test_without_a_case(window: Any) -> None:
    assert window.views.resample.last("set_ready") == (False, "open an image first")
    assert refused(window) == "open an image first"


def test_slices_that_are_all_kept_are_refused(opened: Any, at: Any) -> None:
    for plane in range(6):
        at(plane)
        opened.draw((plane, 3, 3), 2)
    for near in (True, False):
        assert "nothing could change" in refused(opened, near=near)
    assert ask(opened, keep="strokes") is not None


def test_a_picture_has_no_slices_to_keep(window: Any, make_image: Any) -> None:
    window.canvas.answers["slice_region"] = lambda case: Region((0, 1), (0, 8), (0, 10))
    window.desk.open(str(make_image(shape=(1, 8, 10))))
    assert window.views.resample.last("set_slices") == (False, False)
    window.draw((0, 3, slice(0, 3)), 1)
    assert len(ask(window).strokes) == 3


def test_it_is_told_and_can_be_cancelled(opened: Any) -> None:
    opened.draw((2, 3, 3), 2)
    ask(opened)
    view = opened.views.resample
    opened.runner.tell(Advanced(Progress("sample", 1, 4)))
    (busy,) = view.last("set_busy")
    assert busy.fraction == 0.25
    opened.views.resample.run_requested.emit(Redraw())
    assert opened.said[-1] == "wait, or cancel"
    assert len(opened.runner.jobs) == 1
    view.cancel_requested.emit()
    assert opened.runner.jobs[-1][2].cancelled == 1
    assert view.last("set_busy") == (None,)
    assert "cancelled, the mask is as it was" in opened.said[-1]


def test_a_proposal_is_not_told_as_if_it_were_one(opened: Any) -> None:
    opened.views.propose.run_requested.emit()
    assert all(busy is None for (busy,) in opened.views.resample.all("set_busy"))


def test_the_part_that_is_new_is_noted(opened: Any, card: Any, propose: Any) -> None:
    from diffseg.domain import RegionReport

    opened.draw((2, 3, 3), 2)
    ask(opened, near=False)
    report = RegionReport("strokes", ((0, 4), (0, 8), (1, 9)), "strokes", {})
    mask = opened.case.annotation.values.copy()
    made = replace(propose(opened.case, mask, card), regions=(report,))
    opened.runner.tell(Finished(made))
    assert opened.case.proposed_in == Region((0, 4), (0, 8), (1, 9))
    assert opened.case.proposal is made
