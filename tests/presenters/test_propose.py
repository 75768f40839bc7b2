"""Proposals: asked for, watched, cancelled, taken in without losing a stroke."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import ImageLabels, Presence, Preview, Region
from diffseg.engine.events import Advanced, Failed, Finished, Machine, Plan, Planned
from diffseg.engine.events import Stopped as StoppedEvent
from diffseg.progress import Progress
from napari_diffseg.presenters.settings import duration, plan_text


@pytest.fixture
def opened(window: Any, image: Path) -> Any:
    window.desk.open(str(image))
    return window


def block(shape: tuple[int, ...], value: int = 1) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 2:6, 2:7] = value
    return mask


def run(window: Any, proposal: Any) -> None:
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(proposal))


def test_a_request_says_what_the_panels_say(opened: Any, card: Any) -> None:
    opened.views.propose.settings_changed.emit(6, 3, 11)
    opened.views.labels.presence_given.emit("posterior", Presence.ABSENT)
    opened.views.model.device_chosen.emit("cpu")
    opened.views.propose.run_requested.emit()
    job = opened.runner.jobs[-1][0]
    request = job.request
    assert (job.model, job.device) == ("hippocampus-mri@1", "cpu")
    assert (request.members, request.steps, request.seed) == (6, 3, 11)
    assert request.region is None
    assert request.keep_members
    assert dict(request.labels) == {"posterior": Presence.ABSENT}


def test_defaults_are_the_cards_and_the_seed_stays(window: Any) -> None:
    assert window.views.propose.last("set_settings") == (4, 2, 0)
    window.views.propose.settings_changed.emit(9, 9, 5)
    window.views.model.model_chosen.emit("tumour")
    assert window.views.propose.last("set_settings") == (4, 2, 5)


def test_members_are_kept_only_where_memory_allows(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_diffseg.presenters.asking.MOST_KEPT_BYTES", 4 * 479)
    opened.views.propose.run_requested.emit()
    assert not opened.runner.jobs[-1][0].request.keep_members


def test_a_proposal_is_one_undo_step(opened: Any, card: Any, propose: Any) -> None:
    mask = block(opened.case.volume.shape)
    proposal = propose(opened.case, mask, card)
    run(opened, proposal)
    assert len(opened.canvas.all("apply")) == 1
    note = opened.case.annotation
    assert np.array_equal(note.values, mask)
    assert np.array_equal(note.proposed, mask)
    assert not note.proposed.flags.writeable
    assert not note.touched.any()
    assert opened.case.proposal is proposal
    assert opened.canvas.last("show_proposal")[0] is opened.case
    assert opened.journal.last("note") == (opened.case.id,)
    assert opened.session.busy is None
    assert not opened.views.propose.all("ask_replace")
    rows, text, _ = opened.views.result.last("show_structures")
    assert [label.name for label, _ in rows] == ["anterior", "posterior"]
    assert text == "hippocampus-mri 1, 4 members, 2 steps, seed 0, on cpu"


@pytest.mark.parametrize("answer", [False, True, None])
def test_strokes_are_asked_for_once(
    opened: Any, card: Any, propose: Any, answer: bool | None
) -> None:
    opened.draw((1, 2, slice(0, 5)), 2)  # three of these five would change
    opened.draw((5, 7, slice(0, 2)), 2)  # so would these two
    before = opened.case.annotation.values.copy()
    opened.views.propose.answers["ask_replace"] = answer
    mask = block(opened.case.volume.shape)
    run(opened, propose(opened.case, mask, card))
    assert opened.views.propose.all("ask_replace") == [(7, "voxel")]
    values = opened.case.annotation.values
    if answer is None:
        assert np.array_equal(values, before)
        assert opened.case.proposal is None
        assert not opened.canvas.all("apply")
    elif answer:
        assert np.array_equal(values, mask)
    else:
        assert (values[1, 2, :5] == 2).all()
        assert (values[5, 7, :2] == 2).all()
        assert values[2, 3, 3] == 1
        assert "7 voxels that you drew are kept" in opened.said[-1]


def test_strokes_that_agree_are_not_asked_for(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.draw((2, 3, 3), 1)
    run(opened, propose(opened.case, block(opened.case.volume.shape), card))
    assert not opened.views.propose.all("ask_replace")


def test_strokes_while_it_is_drawn_are_kept(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.views.propose.run_requested.emit()
    opened.draw((2, 3, 3), 2)
    opened.views.propose.answers["ask_replace"] = False
    mask = block(opened.case.volume.shape)
    opened.runner.tell(Finished(propose(opened.case, mask, card)))
    assert opened.case.annotation.values[2, 3, 3] == 2


def test_a_mask_that_was_read_is_asked_for_before_it_goes(
    opened: Any, card: Any, propose: Any
) -> None:
    case = opened.case
    case.given = np.zeros(case.volume.shape, np.uint8)
    case.given[0, 0, :4] = 1
    case.annotation.values[0, 0, :3] = 1  # the fourth was erased again
    opened.views.propose.answers["ask_replace"] = False
    run(opened, propose(case, block(case.volume.shape), card))
    assert opened.views.propose.last("ask_replace") == (3, "voxel")
    assert (case.annotation.values[0, 0, :3] == 1).all()


def test_cancel_frees_the_window_at_once(opened: Any, card: Any, propose: Any) -> None:
    opened.draw((0, 0, 0), 2)
    before = opened.case.annotation.values.copy()
    opened.views.propose.run_requested.emit()
    assert opened.session.busy is not None
    opened.views.propose.cancel_requested.emit()
    assert opened.session.busy is None
    assert opened.views.propose.last("set_busy") == (None,)
    assert opened.runner.jobs[0][2].cancelled == 1
    assert opened.canvas.last("end_preview") == (opened.case.id,)
    # whatever the worker still says
    preview = Preview(
        stage="sample",
        region=Region((0, 1), (0, 1), (0, 1)),
        mask=np.ones((1, 1, 1), np.uint8),
        uncertainty=np.ones((1, 1, 1), np.uint8),
    )
    proposal = propose(opened.case, block(opened.case.volume.shape), card)
    for event in (Advanced(preview), Finished(proposal), StoppedEvent()):
        opened.runner.tell(event)
    assert np.array_equal(opened.case.annotation.values, before)
    assert opened.case.proposal is None
    assert not opened.canvas.all("show_preview")
    assert opened.session.busy is None


def test_after_a_cancel_the_next_run_starts(opened: Any) -> None:
    opened.views.propose.run_requested.emit()
    opened.views.propose.cancel_requested.emit()
    opened.views.propose.run_requested.emit()
    assert len(opened.runner.jobs) == 2
    opened.runner.tell(StoppedEvent(), job=0)  # late
    assert opened.session.busy is not None


def test_progress_is_told_with_what_is_left(opened: Any) -> None:
    times = iter([10.0, 12.0, 14.0, 18.0])
    opened.desk.propose._clock = lambda: next(times)
    opened.views.propose.run_requested.emit()
    opened.runner.tell(Advanced(Progress("prepare", 0, 1, "left")))
    assert opened.session.busy.fraction is None
    opened.runner.tell(Advanced(Progress("sample", 0, 4)))
    opened.runner.tell(Advanced(Progress("sample", 1, 4)))
    opened.runner.tell(Advanced(Progress("sample", 3, 4)))
    busy = opened.session.busy
    assert busy.fraction == 0.75
    assert busy.seconds_left == pytest.approx(2.0)
    assert busy.message == "brain: drawing, 3 of 4"


def test_previews_are_shown_while_it_is_drawn(opened: Any) -> None:
    opened.views.propose.run_requested.emit()
    preview = Preview(
        stage="sample",
        done=1,
        total=4,
        region=Region((0, 1), (0, 1), (0, 1)),
        mask=np.ones((1, 1, 1), np.uint8),
        uncertainty=np.ones((1, 1, 1), np.uint8),
    )
    opened.runner.tell(Advanced(preview))
    assert opened.canvas.last("show_preview") == (opened.case, preview)
    assert opened.session.busy.fraction == 0.25
    assert not opened.case.annotation.values.any()


def test_a_failure_is_told_and_nothing_changes(opened: Any) -> None:
    opened.draw((0, 0, 0), 2)
    before = opened.case.annotation.values.copy()
    opened.views.propose.run_requested.emit()
    opened.runner.tell(Failed("out of memory; choose fewer members", 1))
    assert opened.troubles[-1] == "brain: out of memory; choose fewer members"
    assert np.array_equal(opened.case.annotation.values, before)
    assert opened.session.busy is None
    assert opened.canvas.last("end_preview") == (opened.case.id,)
    opened.views.propose.run_requested.emit()
    assert len(opened.runner.jobs) == 2


def test_an_image_may_be_deleted_while_its_proposal_is_drawn(
    opened: Any, card: Any, propose: Any
) -> None:
    case = opened.case
    opened.views.propose.run_requested.emit()
    opened.canvas.case_deleted.emit(case.id)
    assert opened.runner.jobs[0][2].cancelled == 1
    assert opened.session.busy is None
    opened.runner.tell(Finished(propose(case, block(case.volume.shape), card)))
    assert not opened.canvas.all("apply")
    assert opened.session.cases == ()


def test_several_images_go_one_after_another(
    window: Any, make_image: Callable[..., Path], card: Any, propose: Any
) -> None:
    for name in "abc":
        window.desk.open(str(make_image(f"{name}.nii.gz")))
    first, second, third = window.session.cases
    window.views.propose.run_all_requested.emit()
    assert len(window.runner.jobs) == 1
    window.runner.tell(Failed("no hippocampus found; draw a box"))
    assert window.troubles[-1] == "a: no hippocampus found; draw a box"
    assert window.session.busy.case_id == second.id
    window.runner.tell(Finished(propose(second, block(second.volume.shape), card)))
    assert second.proposal is not None
    window.runner.tell(Finished(propose(third, block(third.volume.shape), card)))
    assert third.proposal is not None
    assert first.proposal is None
    assert [job.request.volume.name for job, *_ in window.runner.jobs] == list("abc")
    assert window.session.busy is None


def test_cancel_empties_the_queue(window: Any, make_image: Callable[..., Path]) -> None:
    for name in "ab":
        window.desk.open(str(make_image(f"{name}.nii.gz")))
    window.views.propose.run_all_requested.emit()
    window.views.propose.cancel_requested.emit()
    assert len(window.runner.jobs) == 1
    assert window.session.busy is None


def test_a_batch_keeps_strokes_without_asking(
    window: Any, make_image: Callable[..., Path], card: Any, propose: Any
) -> None:
    for name in "ab":
        window.desk.open(str(make_image(f"{name}.nii.gz")))
    window.draw((0, 0, 0), 2)
    window.views.propose.run_all_requested.emit()
    for case in window.session.cases:
        window.runner.tell(Finished(propose(case, block(case.volume.shape), card)))
    assert not window.views.propose.all("ask_replace")
    assert window.case.annotation.values[0, 0, 0] == 2


def test_a_box_is_all_that_changes(opened: Any, card: Any, propose: Any) -> None:
    box = Region((1, 3), (0, 4), (0, 10))
    opened.views.propose.scope_chosen.emit("region")
    assert opened.canvas.all("start_box")
    assert opened.views.propose.last("set_ready")[0] is False
    assert "draw a box" in opened.views.propose.last("set_ready")[1]
    opened.views.propose.run_requested.emit()
    assert not opened.runner.jobs
    opened.canvas.answers["box_region"] = box
    opened.canvas.box_drawn.emit(opened.case.id)
    assert opened.views.propose.last("set_ready") == (True, "")
    opened.case.annotation.values[5, 7, 9] = 1  # of an earlier proposal, elsewhere
    mask = block(opened.case.volume.shape)
    run(opened, propose(opened.case, mask, card))
    assert opened.runner.jobs[-1][0].request.region == box
    values = opened.case.annotation.values
    assert values[5, 7, 9] == 1
    assert np.array_equal(values[box.slices], mask[box.slices])
    assert np.count_nonzero(values) == np.count_nonzero(mask[box.slices]) + 1


def test_a_slice_is_seen_with_its_neighbours_and_changes_alone(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.views.propose.scope_chosen.emit("slice")
    run(opened, propose(opened.case, block(opened.case.volume.shape), card))
    region = opened.runner.jobs[-1][0].request.region
    assert region == Region((0, 6), (0, 8), (0, 10))  # 16 planes around, clipped
    planes = opened.case.annotation.values.any(axis=(1, 2))
    assert planes.tolist() == [False, False, True, False, False, False]


def test_a_model_of_whole_images_takes_no_region(
    make_window: Any, make_card: Any, image: Path
) -> None:
    window = make_window(make_card("whole", "organ", capabilities=frozenset()))
    window.desk.open(str(image))
    window.views.model.model_chosen.emit("whole")
    window.views.propose.scope_chosen.emit("slice")
    ready, why = window.views.propose.last("set_ready")
    assert not ready
    assert "choose the scope volume" in why
    window.views.propose.run_requested.emit()
    assert not window.runner.jobs
    window.views.propose.scope_chosen.emit("volume")
    window.case.labels = ImageLabels({"organ": Presence.PRESENT})
    window.views.propose.run_requested.emit()
    assert not window.runner.jobs
    assert "does not use image-level labels" in window.troubles[-1]


def test_nothing_runs_without_an_image(window: Any) -> None:
    assert window.views.propose.last("set_ready") == (False, "open an image first")
    window.views.propose.run_requested.emit()
    assert window.troubles[-1] == "open an image first"


def test_a_plan_is_asked_for_after_a_pause(opened: Any) -> None:
    opened.later.held = True
    asked = len(opened.runner.plans)
    for seed in range(5):
        opened.views.propose.settings_changed.emit(8, 1, seed)
    assert opened.views.propose.last("set_plan") == ("",)
    opened.later.go_on()
    assert len(opened.runner.plans) == asked + 1
    job, listener, _ = opened.runner.plans[-1]
    assert job.request.seed == 4
    machine = Machine("cuda", "GPU", 1, 10**10)
    listener(Planned(Plan(7.2, 1_100_000_000, 8, 1, machine)))
    assert opened.views.propose.last("set_plan") == ("about 7 s, 1.1 GB",)
    opened.views.propose.scope_chosen.emit("slice")
    listener(Planned(Plan(99, 1, 8, 1, machine)))  # of what was asked before
    assert opened.views.propose.last("set_plan") == ("",)


def test_a_plan_gives_way_to_the_proposal(opened: Any) -> None:
    ticket = opened.runner.plans[-1][2]
    opened.views.propose.run_requested.emit()
    assert ticket.cancelled == 1
    asked = len(opened.runner.plans)
    opened.views.propose.settings_changed.emit(8, 1, 3)
    assert len(opened.runner.plans) == asked


def test_a_plan_that_fails_says_why(opened: Any) -> None:
    opened.runner.plans[-1][1](Failed("the image has two channels", 2))
    assert "two channels" in opened.views.propose.last("set_plan")[0]


def test_times_are_told_as_people_do() -> None:
    assert [duration(s) for s in (0.2, 7.4, 100, 5000, 9000)] == [
        *("1 s", "7 s", "2 min", "83 min", "2 h 30 min")
    ]
    machine = Machine("cpu", "2 CPU cores", 2, 1)
    plan = Plan(3.0, 40_000_000, 8, 1, machine, ("memory is short",))
    assert plan_text(plan) == "about 3 s, 40 MB; memory is short"


def test_another_models_names_do_not_slip_in_while_it_is_drawn(
    opened: Any, card: Any, propose: Any
) -> None:
    opened.views.propose.run_requested.emit()
    opened.views.model.model_chosen.emit("tumour")
    assert opened.case.table.names == ("tumour",)
    mask = block(opened.case.volume.shape)
    opened.runner.tell(Finished(propose(opened.case, mask, card)))
    assert opened.case.table.names == ("anterior", "posterior")
    opened.views.propose.run_requested.emit()
    assert len(opened.runner.jobs) == 1
    assert "'anterior'" in opened.troubles[-1]


def test_a_new_spacing_leaves_what_is_being_drawn(window: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "skin.png")
    window.desk.open(str(tmp_path / "skin.png"))
    window.views.propose.run_requested.emit()
    window.views.case.spacing_given.emit(1.0, 1.0, 1.0)
    assert window.session.busy is None
    assert window.runner.jobs[0][2].cancelled == 1


def test_a_canvas_that_fails_ends_the_run_in_words(
    opened: Any, card: Any, propose: Any
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    works = opened.canvas.answers["apply"]
    opened.canvas.answers["apply"] = fail
    mask = block(opened.case.volume.shape)
    run(opened, propose(opened.case, mask, card))
    assert opened.session.busy is None
    assert "not enough memory" in opened.troubles[-1]
    opened.canvas.answers["begin_preview"] = fail
    opened.views.propose.run_requested.emit()
    assert opened.session.busy is None
    opened.canvas.answers |= {"apply": works, "begin_preview": None}
    run(opened, propose(opened.case, mask, card))
    assert np.array_equal(opened.case.annotation.values, mask)


def test_a_slice_leaves_the_earlier_proposal_around_it(
    window: Any, make_window: Any, make_card: Any, image: Path, propose: Any
) -> None:
    card = make_card("tumour", "tumour", capabilities=("region",), version="2")
    window = make_window(card)
    window.views.model.model_chosen.emit("tumour@2")
    window.desk.open(str(image))
    whole = block(window.case.volume.shape)
    run(window, propose(window.case, whole, card))
    assert "alone" not in window.views.result.last("show_structures")[1]
    window.views.propose.scope_chosen.emit("slice")
    part = np.zeros_like(whole)
    part[2, 0, 0] = 1
    run(window, propose(window.case, part, card))
    note = window.case.annotation
    assert np.array_equal(note.proposed, note.values)
    assert note.proposed[1].any()
    assert note.proposed[2].sum() == 1
    text = window.views.result.last("show_structures")[1]
    assert text.endswith(
        "spread and places are of the last part alone (10 x 8 x 1 voxels)"
    )
    window.views.propose.scope_chosen.emit("volume")
    run(window, propose(window.case, whole, card))
    assert "alone" not in window.views.result.last("show_structures")[1]
