"""Learning in the window: what from, start, curve, cancel, verdict, versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Label, LabelTable
from diffseg.engine.events import Advanced, Failed
from diffseg.progress import Progress
from diffseg.project import store
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals
from diffseg.volume import write_mask
from diffseg_training.finetuning.job import Finetuned
from diffseg_training.finetuning.verdict import CaseDice, judge
from diffseg_training.learning import Learning
from napari_diffseg.presenters.learning import line_of, longer
from napari_diffseg.presenters.train_outlook import Prospect
from napari_diffseg.views import LearningCurve, TrainCase, TrainState

TABLE = LabelTable(
    labels=(Label(name="posterior", value=1), Label(name="anterior", value=2))
)
LEARN = TrainCase("ida", "a", 480, True, False)
PARTLY = TrainCase("idc", "c", 20, False, False)
JUDGE = TrainCase("idb", "b", 480, True, True)
PROSPECT = Prospect((LEARN, PARTLY, JUDGE))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    place = tmp_path / "study"
    with store.create_project(place, labels=TABLE, annotator="head") as project:
        for number, name in enumerate("ab"):
            image = make_image(f"{name}.nii.gz", shape=(6, 8, 10 + number))
            store.add_case(project, image, annotator="head")
    return place


@pytest.fixture
def window(
    make_window: Callable[..., Any], make_card: Any, tmp_path: Path, folder: Path
) -> Any:
    names = ("anterior", "posterior")
    parent = "hippocampus-mri@1#" + "0" * 64
    told = {"cases": 2}
    child = make_card(
        "hippocampus-mri", *names, version="1+ft1", parent=parent, finetuning=told
    )
    journal = Journals(Journal(tmp_path / "journal", interval=0.05))
    made = make_window(child, journal=journal)
    made.views.model.model_chosen.emit("hippocampus-mri@1")
    made.views.project.open_requested.emit(str(folder), "anna")
    yield made
    made.desk.close()
    journal.close()


def state_of(window: Any) -> TrainState:
    found: TrainState = window.views.train.last("show_state")[0]
    return found


def open_panel(window: Any, prospect: Prospect = PROSPECT) -> None:
    window.views.train.looked.emit(True)
    window.works.finish(prospect)


def job_begun(window: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The job that the latest piece of work would begin with."""
    import diffseg_training.finetuning.process as process

    jobs: list[Any] = []
    monkeypatch.setattr(
        process, "iter_finetune_apart", lambda job, threads: jobs.append(job)
    )
    window.works.pieces[-1].start()
    return jobs[0]


def ended(window: Any, folder: Path, after: float) -> Finetuned:
    def scored(dice: float) -> list[CaseDice]:
        both = {"anterior": dice, "posterior": 0.8}
        return [CaseDice("idb", "b", both, frozenset(both))]

    verdict = judge(scored(0.8), scored(after), 0.01)
    return Finetuned(
        outcome="kept" if verdict.kept else "refused",
        model="hippocampus-mri@1+ft1",
        parent="hippocampus-mri@1",
        sha256="1" * 64,
        path=folder / "model",
        run=folder / "training" / "run",
        run_id="run",
        verdict=verdict.as_json(),
        learnt=("ida",),
        held_out=("idb",),
        voxels=480,
        steps=10,
        minutes=1.0,
    )


def test_nothing_is_counted_before_anybody_looks(window: Any) -> None:
    assert not window.works.pieces
    window.views.train.looked.emit(True)
    assert len(window.works.pieces) == 1
    assert "counting" in state_of(window).why_not
    window.works.finish(PROSPECT)
    state = state_of(window)
    assert state.cases == PROSPECT.cases
    assert state.why_not == ""
    assert state.line == (
        "learns from 2 cases, 500 reviewed voxels; judged by 1 held out"
    )


def test_cases_that_teach_by_their_labels_are_counted_in_slices(
    window: Any, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    said = TrainCase("idd", "d", 0, False, False, slices=12)
    open_panel(window, Prospect((LEARN, said, JUDGE)))
    assert state_of(window).line == (
        "learns from 2 cases, 480 reviewed voxels and labels of 12 slices; judged by "
        "1 held out"
    )
    window.views.train.case_ticked.emit("ida", False)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    job = job_begun(window, monkeypatch)
    assert (job.kind, job.cases, job.hold_out) == ("finetune", ("idd",), ("idb",))
    looking = Progress("look", 3, 9, "labelled")
    assert line_of(looking)[0] == "looking at slices for its cache (4 of 9)"


def test_without_a_project_the_panel_says_so(make_window: Any) -> None:
    made = make_window()
    made.views.train.looked.emit(True)
    assert "open a project" in state_of(made).why_not
    made.views.train.run_requested.emit(None, 0.01, 0.0)
    assert not made.works.pieces


def test_a_refusal_is_told_in_a_line_and_nothing_starts(window: Any) -> None:
    open_panel(window, Prospect(refused="there is no held-out case to judge by"))
    assert "no held-out case" in state_of(window).why_not
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    assert len(window.works.pieces) == 1


def test_the_project_itself_is_asked(window: Any) -> None:
    window.views.train.looked.emit(True)
    window.works.do()  # the models of this test are in no folder
    assert "hippocampus-mri@1" in state_of(window).why_not


def test_a_job_is_what_is_shown(window: Any, monkeypatch: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(2.5, 0.02, 0.005)
    assert state_of(window).running
    job = job_begun(window, monkeypatch)
    assert (job.project, job.annotator) == (str(folder), "anna")
    assert job.model == "hippocampus-mri@1"
    assert (job.minutes, job.tolerance, job.overall_tolerance) == (2.5, 0.02, 0.005)
    assert (job.cases, job.hold_out) == ((), ())  # as the run chooses itself
    window.views.train.run_requested.emit(None, 0.01, 0.0)  # one at a time
    assert len(window.works.pieces) == 2


def test_cases_can_be_left_out(window: Any, monkeypatch: Any) -> None:
    open_panel(window)
    window.views.train.case_ticked.emit("idc", False)
    assert [one.used for one in state_of(window).cases] == [True, False, True]
    window.views.train.case_ticked.emit("idb", False)
    assert "held-out" in state_of(window).why_not
    window.views.train.case_ticked.emit("idb", True)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    job = job_begun(window, monkeypatch)
    assert (job.cases, job.hold_out) == (("ida",), ("idb",))
    assert job.minutes is None


def test_what_is_drawn_is_saved_before_it_begins(window: Any) -> None:
    rows = window.views.project.last("show_rows")[0]
    window.views.project.case_requested.emit(rows[0].id)
    window.draw((2, 2, 2))
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    assert state_of(window).running
    project = window.desk.books.ledger.project
    assert len(store.corrections_of(project, rows[0].id)) == 1


def test_the_curve_grows(window: Any) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    piece = window.works.pieces[-1]
    piece.tell(Advanced(Progress("gather", 0, 3)))
    assert window.views.train.last("show_progress")[0].endswith("(1 of 3)")
    assert not window.views.train.last("show_curve")[0].losses
    piece.tell(Advanced(Learning("train", 100, 1000, step=10, loss=0.5)))
    piece.tell(Advanced(Learning("train", 100, 1000, step=10, loss=0.5)))
    score = {"anterior": 0.7, "score": 0.75}
    piece.tell(Advanced(Learning("train", 200, 1000, step=20, loss=0.4, scores=score)))
    curve = window.views.train.last("show_curve")[0]
    assert curve.losses == ((10, 0.5), (20, 0.4))
    assert curve.scores == ((20, 0.75),)
    assert curve.total == 100
    assert window.views.train.last("show_progress") == ("learning, loss 0.400", 0.2)


def test_signs_of_other_work_add_nothing() -> None:
    curve = LearningCurve(((1, 0.5),))
    assert longer(curve, Progress("start")) is curve
    assert line_of(Progress("start")) == ("starting", None)


def test_cancelling_frees_the_panel_at_once(window: Any) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    piece = window.works.pieces[-1]
    window.views.train.cancel_requested.emit()
    assert piece.cancelled
    assert not state_of(window).running
    assert "cancelled" in window.said[-1]
    piece.tell(Advanced(Progress("train", 1, 2)))  # comes too late
    assert window.views.train.last("show_progress") == ("", None)
    window.works.finish(Prospect(PROSPECT.cases, resumable=True))
    assert state_of(window).resumable


def test_a_run_whose_process_ends_late_can_go_on_then(window: Any) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    window.later.held = True
    window.views.train.cancel_requested.emit()
    window.later.tasks.pop()()  # the count once changes rest: the process still ends
    window.works.finish(PROSPECT)
    assert not state_of(window).resumable
    window.later.go_on()
    window.later.go_on()
    window.works.finish(Prospect(PROSPECT.cases, resumable=True))
    assert state_of(window).resumable


def test_a_run_that_was_broken_off_goes_on(window: Any, monkeypatch: Any) -> None:
    open_panel(window, Prospect(refused="no", resumable=True, kind="finetune"))
    window.views.train.resume_requested.emit()
    assert state_of(window).running
    assert job_begun(window, monkeypatch).resume


def test_a_failure_is_told(window: Any) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    window.works.pieces[-1].tell(Failed("the disk is full"))
    assert "the disk is full" in window.troubles[-1]
    assert not state_of(window).running


def test_a_version_that_is_kept_is_taken(window: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    window.works.finish(ended(window, folder, 0.85))
    assert window.session.model_name == "hippocampus-mri@1+ft1"
    verdict = window.views.train.last("show_verdict")[0]
    assert verdict.kept
    assert verdict.held_out == (("idb", "b"),)
    first = verdict.classes[0]
    assert (first.name, first.before, first.after) == ("anterior", 0.8, 0.85)
    assert not first.worse
    assert not state_of(window).running


def test_one_that_is_refused_is_not(window: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    window.works.finish(ended(window, folder, 0.6))
    assert window.session.model_name == "hippocampus-mri@1"
    verdict = window.views.train.last("show_verdict")[0]
    assert not verdict.kept
    assert verdict.classes[0].worse
    assert "worse than the tolerance of 0.01 Dice on anterior" in window.troubles[-1]
    window.views.project.close_requested.emit()
    assert window.views.train.last("show_verdict") == (None,)


def test_a_version_kept_though_cancelled_is_told(window: Any, folder: Path) -> None:
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    piece = window.works.pieces[-1]
    window.views.train.cancel_requested.emit()
    window.works.finish(ended(window, folder, 0.85), window.works.pieces.index(piece))
    assert window.views.train.last("show_verdict")[0].kept


def test_a_held_out_case_is_seen_before_and_after(window: Any, folder: Path) -> None:
    rows = window.views.project.last("show_rows")[0]
    id = rows[1].id
    open_panel(window)
    window.views.train.run_requested.emit(None, 0.01, 0.0)
    done = ended(window, folder, 0.85)
    values = np.zeros((6, 8, 11), np.uint8)
    values[2, 2, 2] = 1  # anterior, as the model counts
    project = window.desk.books.ledger.project
    grid = store.case_of(project, id).grid
    volume = store.open_source(store.case_of(project, id))
    place = done.run / "held-out" / f"{id}-child.nii.gz"
    place.parent.mkdir(parents=True)
    write_mask(place, values, grid, volume.source)
    told = {**done.as_json(), "held_out": [id]}
    window.works.finish(Finetuned.from_json(told))
    window.views.train.compare_requested.emit(id, "after")
    assert window.case.name == "b"
    case, shown, words = window.canvas.last("show_compared")
    assert case is window.case
    assert shown[2, 2, 2] == 2  # anterior, as the project counts
    assert words == "model after"
    window.views.train.compare_requested.emit(id, "off")
    assert window.canvas.last("end_compared") == (case.id,)
    window.views.train.compare_requested.emit(id, "before")  # which is not there
    assert window.views.train.last("show_side") == ("off",)
    assert window.troubles


def test_versions_are_a_tree_with_one_click_back(window: Any) -> None:
    versions, back = window.views.train.last("show_versions")
    assert [(one.version, one.depth, one.current) for one in versions] == [
        ("1", 0, False),
        ("1+ft1", 1, True),
    ]
    assert versions[1].line == "learnt from 2 cases"
    assert back == "1"
    window.views.train.rollback_requested.emit()
    assert window.session.model_name == "hippocampus-mri@1"
    versions, back = window.views.train.last("show_versions")
    assert [one.current for one in versions] == [True, False]
    assert back == ""
    window.views.train.rollback_requested.emit()
    assert "came from no other" in window.troubles[-1]
    window.views.train.version_chosen.emit("hippocampus-mri@1+ft1")
    assert window.session.model_name == "hippocampus-mri@1+ft1"
