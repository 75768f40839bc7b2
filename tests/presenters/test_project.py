"""A project in the window: opened, labelled, proposed for, saved, and left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Label, LabelTable, Presence
from diffseg.engine.events import Finished
from diffseg.project import store
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals
from napari_diffseg.session import Case

SHAPE = (6, 8, 10)
TABLE = LabelTable(
    labels=(Label(name="anterior", value=1), Label(name="posterior", value=2))
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """A project of two cases, "a" and "b", made by somebody else."""
    place = tmp_path / "study"
    with store.create_project(place, labels=TABLE, annotator="head") as project:
        for number, name in enumerate("ab"):
            image = make_image(f"{name}.nii.gz", shape=(6, 8, 10 + number))
            store.add_case(project, image, annotator="head")
    return place


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journals]:
    made = Journals(Journal(tmp_path / "journal", interval=0.05))
    yield made
    made.close()


@pytest.fixture
def window(make_window: Callable[..., Any], journal: Journals, folder: Path) -> Any:
    made = make_window(journal=journal)
    made.views.project.open_requested.emit(str(folder), "anna")
    return made


def rows(window: Any) -> list[Any]:
    return list(window.views.project.last("show_rows")[0])


def open_case(window: Any, name: str = "a") -> Case:
    id = next(row.id for row in rows(window) if row.name == name)
    window.views.project.case_requested.emit(id)
    case: Case = window.case
    assert case.entry is not None
    assert case.entry.origin.case == id
    return case


def project_of(window: Any) -> store.Project:
    ledger = window.desk.books.ledger
    assert ledger is not None
    found: store.Project = ledger.project
    return found


def test_a_project_opens_with_its_list(window: Any, folder: Path) -> None:
    facts = window.session.project
    assert (facts.name, facts.annotator, facts.total) == ("study", "anna", 2)
    assert [row.name for row in rows(window)] == ["a", "b"]
    window.views.project.sort_requested.emit("name", True)
    assert [row.name for row in rows(window)] == ["b", "a"]
    window.views.project.sift_requested.emit("A", "")
    assert [row.name for row in rows(window)] == ["a"]
    window.views.project.sift_requested.emit("", "done")
    assert rows(window) == []
    window.views.project.close_requested.emit()
    assert window.session.project is None
    assert window.views.project.last("show_recent") == ([str(folder)],)


def test_what_is_no_project_is_told(make_window: Any, tmp_path: Path) -> None:
    window = make_window()
    window.views.project.open_requested.emit(str(tmp_path), "")
    assert "is not a project" in window.troubles[-1]
    new = tmp_path / "new"
    window.views.project.create_requested.emit(str(new), "anna")
    assert window.session.project.folder == new
    window.desk.close()


def test_a_case_is_corrected_saved_and_opened_again(window: Any) -> None:
    case = open_case(window)
    assert case.table == TABLE
    assert rows(window)[0].held
    window.draw((2, slice(2, 4), slice(2, 4)), 2)
    assert window.views.project.last("show_case")[0].unsaved
    assert case.entry is not None
    assert case.entry.state == "in_progress"
    window.views.project.save_requested.emit()
    project, id = project_of(window), case.entry.origin.case
    (first,) = store.corrections_of(project, id)
    assert first.annotator == "anna"
    assert np.array_equal(store.read_correction(project, first), case.annotation.values)
    assert np.array_equal(store.read_touched(project, first), case.annotation.touched)
    assert not window.views.project.last("show_case")[0].unsaved
    # Going on saves what was drawn since, on top of the version before.
    window.draw((3, 3, 3), 1)
    window.views.project.step_requested.emit(1)
    assert window.case.name == "b"
    assert [one.name for one in window.session.cases] == ["b"]
    _, second = store.corrections_of(project, id)
    assert second.parent == first.id
    assert store.holder_of(project, id) is None
    again = open_case(window)
    assert again.annotation.values[3, 3, 3] == 1
    assert again.annotation.touched.sum() == 5
    assert again.entry is not None
    assert (again.entry.state, again.entry.version) == ("in_progress", 2)
    window.views.project.step_requested.emit(-1)
    assert "first case" in window.said[-1]


def test_done_saves_and_says_so(window: Any) -> None:
    case = open_case(window)
    window.draw((2, 2, 2))
    window.views.project.state_chosen.emit("done")
    assert case.entry is not None
    review = store.review_of(project_of(window), case.entry.origin.case)
    assert (review.state, review.reviewer) == (store.State.DONE, "anna")
    assert review.correction is not None
    assert rows(window)[0].state == "done"
    window.draw((2, 2, 3))
    assert case.entry.state == "in_progress"


def test_a_proposal_is_kept_and_shown_again(
    window: Any, card: Any, propose: Any
) -> None:
    case = open_case(window)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 2:5, 2:5] = 1
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(propose(case, mask, card)))
    project = project_of(window)
    assert case.entry is not None
    (kept,) = store.proposals_of(project, case.entry.origin.case)
    assert (kept.model_id, kept.seed, kept.annotator) == (card.id, 0, "anna")
    assert case.entry.origin.proposal == kept.id
    assert window.troubles == []
    dice = window.views.project.last("show_rows")[1]
    assert 0.5 < dice[case.entry.origin.case] < 1
    errors, _, title, *_ = window.views.review.last("show_strip")
    assert title == "expected error by axial slice"
    assert list(np.flatnonzero(errors)) == [2, 3, 4]  # from the head to the feet
    window.draw((1, 2, 2), 2)
    window.views.project.step_requested.emit(1)
    version = store.newest_correction(project, kept.case_id)
    assert version is not None
    assert version.proposal == kept.id
    again = open_case(window)
    assert again.proposal is not None
    assert np.array_equal(again.proposal.mask, mask)
    assert again.proposal.structures[0].expected_dice == 0.95
    assert again.annotation.values[1, 2, 2] == 2
    assert window.canvas.all("show_proposal")


def test_who_comes_second_is_told(window: Any) -> None:
    project, id = project_of(window), rows(window)[0].id
    store.take_lease(project, id, annotator="bert")
    window.views.project.answers["ask_taken"] = ""
    window.views.project.case_requested.emit(id)
    assert window.views.project.last("ask_taken")[:2] == ("a", "bert")
    assert window.session.current is None
    window.views.project.answers["ask_taken"] = "read"
    window.views.project.case_requested.emit(id)
    case = window.case
    assert "looked at only" in case.locked
    window.draw((2, 2, 2))
    window.views.project.save_requested.emit()
    window.views.project.close_requested.emit()
    with store.open_project(project.folder) as again:
        assert store.corrections_of(again, id) == ()
        lease = store.holder_of(again, id)
        assert lease is not None
        assert lease.annotator == "bert"


def test_waiting_opens_it_when_it_is_free(
    make_window: Any, journal: Journals, folder: Path
) -> None:
    window = make_window(journal=journal)
    window.desk.cases._pause = lambda ms, fn: ticks.append(fn)
    ticks: list[Callable[[], Any]] = []
    window.views.project.open_requested.emit(str(folder), "anna")
    project, id = project_of(window), rows(window)[0].id
    ticks.clear()
    store.take_lease(project, id, annotator="bert")
    window.views.project.answers["ask_taken"] = "wait"
    window.views.project.case_requested.emit(id)
    ticks.pop()()
    assert window.session.current is None
    store.release_lease(project, id, annotator="bert")
    ticks.pop()()
    assert window.case.name == "a"


def test_what_could_not_be_saved_is_there_again(
    window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_case(window)
    window.draw((2, 2, 2), 2)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(store, "add_correction", full)
        window.views.project.step_requested.emit(1)
    assert any("was not saved" in line for line in window.troubles)
    again = open_case(window)
    assert again.annotation.values[2, 2, 2] == 2
    assert again.unsaved
    window.views.project.save_requested.emit()
    assert again.entry is not None
    assert again.entry.version == 1


def test_a_changed_image_is_refused(window: Any, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "b.nii.gz").read_bytes())
    window.views.project.case_requested.emit(rows(window)[0].id)
    assert window.session.current is None
    assert "has changed since it was added" in window.troubles[-1]
    assert store.holder_of(project_of(window), rows(window)[0].id) is None


def test_strokes_of_a_dead_window_come_back(
    make_window: Any, folder: Path, tmp_path: Path
) -> None:
    dead = make_window(journal=Journals(Journal(tmp_path / "one", interval=0.05)))
    dead.views.project.open_requested.emit(str(folder), "anna")
    case = open_case(dead)
    dead.draw((2, 2, slice(2, 5)), 2)
    assert dead.journal.flush()
    # What a kill leaves: nobody closes anything, the locks are gone.
    dead.journal._projects._window.leave()
    window = make_window(journal=Journals(Journal(tmp_path / "two", interval=0.05)))
    window.views.recover.answers["ask_recover"] = lambda lines: {lines[0].id: True}
    window.views.project.open_requested.emit(str(folder), "anna")
    (line,) = window.views.recover.last("ask_recover")[0]
    assert (line.name, line.voxels) == ("a", 3)
    assert np.array_equal(window.case.annotation.values, case.annotation.values)
    assert window.case.unsaved
    window.views.project.save_requested.emit()
    assert case.entry is not None
    (kept,) = store.corrections_of(project_of(window), case.entry.origin.case)
    assert kept.voxels == 3
    window.desk.close()


def test_what_was_saved_is_not_offered(
    make_window: Any, folder: Path, tmp_path: Path
) -> None:
    window = make_window(journal=Journals(Journal(tmp_path / "one", interval=0.05)))
    window.views.project.open_requested.emit(str(folder), "anna")
    open_case(window)
    window.draw((2, 2, 2), 2)
    window.background.held = True
    window.desk.close()
    window.background.go_on()  # saved after the journal has let go
    again = make_window(journal=Journals(Journal(tmp_path / "two", interval=0.05)))
    again.views.project.open_requested.emit(str(folder), "anna")
    assert not again.views.recover.all("ask_recover")
    assert rows(again)[0].versions == 1
    again.desk.close()


def test_a_range_is_said_with_two_keys(window: Any) -> None:
    from diffseg.domain import Region

    case = open_case(window)
    assert case.entry is not None
    id, view = case.entry.origin.case, window.views.presence

    def at(plane: int) -> None:
        window.canvas.answers["slice_region"] = lambda case: Region(
            (plane, plane + 1), (0, 8), (0, 10)
        )

    window.views.labels.label_chosen.emit(2)
    view.ends_requested.emit()
    assert "press S there" in window.troubles[-1]
    at(4)
    view.starts_requested.emit()
    assert "posterior present from slice" in view.last("show_range")[0]
    at(1)
    view.ends_requested.emit()
    (said,) = store.statements_of(project_of(window), id)
    assert (said.label, said.slices) == ("posterior", (1, 5))
    assert said.state is Presence.PRESENT
    assert case.labels["posterior"] is Presence.PRESENT
    strips, here = view.last("show_strips")
    assert [strip.label.name for strip in strips] == ["anterior", "posterior"]
    shown = strips[1].slices
    turned = case.display.turn.flips[case.display.turn.axes.index(0)]
    assert list(shown[::-1] if turned else shown) == [0, 1, 1, 1, 1, 0]
    assert here == (4 if turned else 1)
    view.undo_requested.emit()
    assert store.statements_of(project_of(window), id) == ()
    assert case.labels["posterior"] is Presence.UNKNOWN


def test_what_is_absent_from_slices_is_not_proposed_there(
    window: Any, card: Any, propose: Any
) -> None:
    case = open_case(window)
    view = window.views.presence
    view.state_chosen.emit(Presence.ABSENT)
    view.starts_requested.emit()
    view.ends_requested.emit()  # slice 2 alone
    window.views.propose.run_requested.emit()
    mask = np.ones(SHAPE, np.uint8)
    window.runner.tell(Finished(propose(case, mask, card)))
    assert not case.annotation.values[2].any()
    assert case.annotation.values[1].all()
    assert case.annotation.values[3].all()
    # Of the whole case, said with the buttons.
    window.views.labels.presence_given.emit("anterior", Presence.ABSENT)
    assert case.entry is not None
    labels = store.image_labels_of(project_of(window), case.entry.origin.case)
    assert labels["anterior"] is Presence.ABSENT


def test_slices_that_were_looked_at_are_ticked(window: Any) -> None:
    case = open_case(window)
    window.canvas.moved.emit()
    assert case.entry is not None
    seen = store.seen_slices(project_of(window), case.entry.origin.case)
    assert seen == (2,)
    assert case.entry.seen == {(0, 2)}


def test_one_key_leads_to_the_next_place(window: Any, card: Any, propose: Any) -> None:
    case = open_case(window)
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5, 1:7, 1:8] = 1
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(propose(case, mask, card)))
    window.views.review.lead_requested.emit()
    assert case.entry is not None
    went, (plane, _, _) = window.canvas.last("go_to")
    assert went is case
    assert plane in (3, 4)
    assert "deserves a look" in window.said[-1]
    case.entry.seen.clear()
    log = store.audit(project_of(window), case_id=case.entry.origin.case)
    assert [one.action for one in log][-2:] == ["advise", "go"]
    # Once its slices have been looked at, the next case comes.
    store.tick_slices(
        project_of(window), case.entry.origin.case, range(6), annotator="anna"
    )
    window.views.review.lead_requested.emit()
    assert window.case.name == "b"


def test_a_label_in_use_keeps_its_name(window: Any) -> None:
    case = open_case(window)
    window.views.labels.presence_given.emit("anterior", Presence.PRESENT)
    window.views.labels.renamed.emit(1, "front")
    assert "cannot be removed" in window.troubles[-1]
    assert case.table == TABLE
    window.views.labels.renamed.emit(2, "back")
    assert store.label_table(project_of(window)).names == ("anterior", "back")


def test_a_case_that_cannot_be_opened_leaves_the_other(window: Any) -> None:
    case = open_case(window)
    project, other = project_of(window), rows(window)[1].id
    store.take_lease(project, other, annotator="bert")
    window.views.project.answers["ask_taken"] = ""
    window.views.project.case_requested.emit(other)
    assert window.case is case
    assert case.entry is not None
    lease = store.holder_of(project, case.entry.origin.case)
    assert lease is not None
    assert lease.annotator == "anna"
