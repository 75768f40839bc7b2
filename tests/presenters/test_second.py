"""Two readings of a case: begun from the window, commented on, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Label, LabelTable
from diffseg.project import store
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals

TABLE = LabelTable(labels=(Label(name="anterior", value=1),))


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """A project of one case, which anna has read."""
    place = tmp_path / "study"
    with store.create_project(place, labels=TABLE, annotator="head") as project:
        case = store.add_case(project, make_image("a.nii.gz"), annotator="head")
        mask = np.zeros(case.grid.shape, np.uint8)
        mask[2, 2:4, 2:4] = 1
        store.add_correction(project, case.id, mask, annotator="anna")
        done = store.State.DONE
        store.set_review(project, case.id, done, reviewer="anna", comment="easy")
    return place


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journals]:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    made = Journals(Journal(tmp_path / "journal", interval=0.05))
    yield made
    made.close()


@pytest.fixture
def enter(
    make_window: Callable[..., Any], journal: Journals, folder: Path
) -> Callable[[str], Any]:
    def made(who: str) -> Any:
        window = make_window(journal=journal)
        window.views.project.open_requested.emit(str(folder), who)
        rows = window.views.project.last("show_rows")[0]
        window.views.project.case_requested.emit(rows[0].id)
        return window

    return made


def shown(window: Any) -> dict[str, Any]:
    names = ("about", "line", "comment", "closed", "refused", "second")
    values = window.views.reading.last("show_reading")
    return dict(zip(names, values, strict=True))


def test_the_first_reader_cannot_read_it_again(enter: Any) -> None:
    window = enter("anna")
    now = shown(window)
    assert now["line"] == "read by anna"
    assert now["comment"] == "easy"
    assert "has read this case before" in now["refused"]
    window.views.reading.comment_given.emit("hard after all")
    assert shown(window)["comment"] == "hard after all"
    window.desk.close()


def test_a_second_reading_begins_blind_and_ends_in_agreement(enter: Any) -> None:
    window = enter("bert")
    assert window.case.annotation.values.any()
    now = shown(window)
    assert now["refused"] == ""
    assert "anna has read this case" in now["closed"]
    window.views.reading.second_requested.emit()
    case = window.case
    assert not case.annotation.values.any()  # blind: what anna drew is not shown
    now = shown(window)
    assert now["second"]
    assert (now["comment"], now["closed"]) == ("", "")
    window.views.reading.comment_given.emit("odd")
    window.draw((2, slice(2, 4), slice(2, 3)))
    window.views.project.state_chosen.emit("done")
    project = window.desk.books.ledger.project
    id = case.entry.origin.case
    second = store.review_of(project, id, store.Role.SECOND)
    assert (second.reviewer, second.comment) == ("bert", "odd")
    assert store.review_of(project, id).comment == "easy"
    line = shown(window)["line"]
    assert line.startswith("anna and bert agree: anterior Dice 0.67, HD95")
    window.desk.close()


def test_what_was_drawn_before_is_not_taken_along(enter: Any) -> None:
    window = enter("bert")
    window.draw((3, 3, 3))
    window.views.reading.second_requested.emit()
    assert "undo what you drew first" in window.troubles[-1]
    assert not shown(window)["second"]
    window.desk.close()


def test_nothing_is_shown_without_a_case(make_window: Any) -> None:
    made = make_window()
    assert made.views.reading.all("hide_reading")
    assert not made.views.reading.all("show_reading")
