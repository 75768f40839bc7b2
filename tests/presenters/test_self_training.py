"""A segmenter from weak masks, in the window: when it may start, with what, how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffseg.domain import Label, LabelTable
from diffseg.engine.events import Failed
from diffseg.project import store
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals
from diffseg_training.selftraining.job import SelfTrained, SelfTrainJob
from diffseg_training.selftraining.outlook import WeakOutlook
from napari_diffseg.presenters.self_training import state_of
from napari_diffseg.presenters.train_outlook import Prospect
from napari_diffseg.views import WeakState

TABLE = LabelTable(labels=(Label(name="tumour", value=1),))
FOUND = WeakOutlook(4, 1, 2, 3, ("lgg-segdiff", "lgg-unet"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    place = tmp_path / "study"
    with store.create_project(place, labels=TABLE, annotator="head") as project:
        image = make_image("a.nii.gz", shape=(6, 8, 10))
        store.add_case(project, image, annotator="head")
    return place


@pytest.fixture
def window(
    make_window: Callable[..., Any], make_card: Any, tmp_path: Path, folder: Path
) -> Any:
    metrics = {"trained_on": "image-level labels alone"}
    weak = make_card("weak", "tumour", metrics=metrics)
    strong = make_card("strong", "tumour")
    journal = Journals(Journal(tmp_path / "journal", interval=0.05))
    made = make_window(weak, strong, journal=journal)
    made.views.model.model_chosen.emit("weak")
    made.views.project.open_requested.emit(str(folder), "anna")
    yield made
    made.desk.close()
    journal.close()


def state_of_panel(window: Any) -> WeakState:
    found: WeakState = window.views.train.last("show_weak")[0]
    return found


def open_panel(window: Any, found: WeakOutlook = FOUND) -> None:
    window.views.train.looked.emit(True)
    window.works.finish(Prospect(refused="nothing is corrected"), -2)
    window.works.finish(found)


def begun(window: Any, monkeypatch: pytest.MonkeyPatch) -> SelfTrainJob:
    """The job that the latest piece of work would begin with."""
    import diffseg_training.selftraining.process as process

    jobs: list[Any] = []
    monkeypatch.setattr(
        process, "iter_self_train_apart", lambda job, threads: jobs.append(job)
    )
    window.works.pieces[-1].start()
    found: SelfTrainJob = jobs[0]
    return found


def ended(folder: Path, outcome: str = "kept") -> SelfTrained:
    sentence = f"{outcome}: worse on tumour" if outcome == "refused" else "kept: fine"
    return SelfTrained(
        outcome=outcome,  # type: ignore[arg-type]
        model="strong@1",
        parent="weak@1",
        sha256="1" * 64,
        path=folder / "model",
        run=folder / "training" / "run",
        run_id="run",
        verdict={"kept": outcome == "kept", "sentence": sentence, "classes": []},
        learnt=("ida",),
        held_out=(),
        voxels=480,
        steps=10,
        minutes=1.0,
        weak_cases=1,
        weak_voxels=400,
        left_out=0,
        lacking=3,
    )


def test_a_strong_model_has_no_weak_masks(window: Any) -> None:
    open_panel(window)
    assert state_of_panel(window).why_not == ""
    assert state_of_panel(window).weak
    pieces = len(window.works.pieces)
    window.views.model.model_chosen.emit("strong")
    assert not state_of_panel(window).weak
    assert "learnt from masks" in state_of_panel(window).why_not
    window.views.train.self_train_requested.emit("lgg-unet", None, 0.01, 0.0)
    assert not window.desk.learning.train.running
    window.views.model.model_chosen.emit("weak")
    assert "counting" in state_of_panel(window).why_not
    assert len(window.works.pieces) > pieces


def test_without_a_project_it_says_so(make_window: Any) -> None:
    made = make_window()
    made.views.train.looked.emit(True)
    assert "open a project" in state_of_panel(made).why_not


def test_what_there_is_stands_in_a_line(window: Any) -> None:
    assert not window.works.pieces  # nobody looks yet
    open_panel(window)
    assert state_of_panel(window) == WeakState(
        ("lgg-segdiff", "lgg-unet"),
        "4 weak masks and 1 corrected; judged by 2; 3 without a proposal",
    )
    one = state_of(WeakOutlook(1, 0, 1, 0, ("a",)))
    assert one.line == "1 weak mask and 0 corrected; judged by 1"


def test_a_refusal_is_told_and_nothing_starts(window: Any) -> None:
    open_panel(window, WeakOutlook(recipes=("lgg-unet",), refused="nobody to judge"))
    assert state_of_panel(window).why_not == "nobody to judge"
    pieces = len(window.works.pieces)
    window.views.train.self_train_requested.emit("lgg-unet", None, 0.01, 0.0)
    assert len(window.works.pieces) == pieces
    window.views.train.looked.emit(True)
    window.works.pieces[-1].tell(Failed("the database is locked"))
    assert state_of_panel(window).why_not == "the database is locked"


def test_a_job_is_what_is_shown(window: Any, monkeypatch: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.self_train_requested.emit("none-such", 2.5, 0.02, 0.005)
    assert not window.desk.learning.train.running
    window.views.train.self_train_requested.emit("lgg-unet", 2.5, 0.02, 0.005)
    assert window.views.train.last("show_state")[0].running
    job = begun(window, monkeypatch)
    assert (job.project, job.annotator) == (str(folder), "anna")
    assert (job.model, job.recipe) == ("weak@1", "lgg-unet")
    assert (job.minutes, job.judged) == (2.5, True)
    assert (job.tolerance, job.overall_tolerance) == (0.02, 0.005)
    pieces = len(window.works.pieces)
    window.views.train.self_train_requested.emit("lgg-unet", None, 0.01, 0.0)
    assert len(window.works.pieces) == pieces  # one at a time


def test_a_model_that_is_kept_is_taken(window: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.self_train_requested.emit("lgg-unet", None, 0.01, 0.0)
    window.works.finish(ended(folder))
    assert window.session.model_name == "strong@1"
    assert window.views.train.last("show_verdict")[0].kept
    assert "learnt from masks" in state_of_panel(window).why_not


def test_one_that_is_refused_is_not(window: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.self_train_requested.emit("lgg-unet", None, 0.01, 0.0)
    window.works.finish(ended(folder, "refused"))
    assert window.session.model_name == "weak@1"
    assert "weak@1 stays: worse on tumour" in window.troubles[-1]


def test_cancelling_says_what_was_cancelled(window: Any) -> None:
    open_panel(window)
    window.views.train.self_train_requested.emit("lgg-unet", None, 0.01, 0.0)
    window.views.train.cancel_requested.emit()
    assert "self-training was cancelled" in window.said[-1]
    assert not window.desk.learning.train.running


def test_one_that_was_broken_off_goes_on_as_what_it_was(
    window: Any, monkeypatch: Any
) -> None:
    window.views.train.looked.emit(True)
    window.works.finish(Prospect(refused="no", resumable=True, kind="self-train"), -2)
    window.views.train.resume_requested.emit()
    job = begun(window, monkeypatch)
    assert (job.resume, job.recipe) == (True, None)
    job.checked()


def test_the_project_itself_is_asked(window: Any) -> None:
    window.views.train.looked.emit(True)
    window.works.do()  # the models of this test are in no folder
    assert "weak@1" in state_of_panel(window).why_not
