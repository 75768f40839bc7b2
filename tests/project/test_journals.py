"""Two journals as one: what belongs to a project is kept in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import ImageLabels, Label, LabelTable
from diffseg.errors import UserError
from diffseg.project.annotation import Annotation
from diffseg.project.entries import Origin
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals
from diffseg.project.merging import merged
from diffseg.project.recent import note_recent, recent_projects
from diffseg.volume import Affine, Volume

SHAPE = (4, 5, 6)
TABLE = LabelTable(labels=(Label(name="structure", value=1),))
ORIGIN = Origin("c" * 16, "p" * 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study" / "journal" / "host"


def made(tmp_path: Path, folder: Path) -> Journals:
    one = Journals(Journal(tmp_path / "own", interval=0.05))
    one.enter(folder)
    return one


@pytest.fixture
def journals(tmp_path: Path, folder: Path) -> Iterator[Journals]:
    one = made(tmp_path, folder)
    yield one
    one.close()


def begin(journals: Journals, case: str, origin: Origin | None) -> Annotation:
    """Open a case that holds touched voxels already."""
    note = Annotation.empty(SHAPE)
    note.values[0], note.touched[0] = 1, True
    volume = Volume.from_array(np.zeros(SHAPE, np.uint8), Affine.identity())
    given: dict[str, Any] = {"table": TABLE, "labels": ImageLabels()}
    journals.open(
        case, name=case, volume=volume, annotation=note, origin=origin, **given
    )
    return note


def draw(journals: Journals, case: str, note: Annotation) -> None:
    note.values[1, 1, 1], note.touched[1, 1, 1] = 1, True
    journals.note(case)
    assert journals.flush(case)


def test_each_case_is_kept_where_it_belongs(
    journals: Journals, tmp_path: Path, folder: Path
) -> None:
    draw(journals, "of a project", begin(journals, "of a project", ORIGIN))
    draw(journals, "plain", begin(journals, "plain", None))
    journals.close()
    after = made(tmp_path, folder)
    (own,), (ours,) = after.leftovers(), after.project_leftovers()
    assert (own.name, ours.name) == ("plain", "of a project")
    assert after.restore(ours.id).origin == ORIGIN
    assert after.restore(own.id).origin is None
    after.discard(ours.id)
    assert not after.project_leftovers()
    after.close()


def test_what_a_project_has_already_is_nothing_new(
    journals: Journals, tmp_path: Path, folder: Path
) -> None:
    """A case that is only opened leaves nothing; a stroke leaves all of the mask."""
    begin(journals, "looked at", ORIGIN)
    note = begin(journals, "drawn", ORIGIN)
    assert journals.flush()
    draw(journals, "drawn", note)
    journals.close()
    after = made(tmp_path, folder)
    (found,) = after.project_leftovers()
    assert (found.name, found.voxels) == ("drawn", 1)
    restored = after.restore(found.id)
    assert np.array_equal(restored.values, note.values)
    assert np.array_equal(restored.touched, note.touched)
    after.close()


def test_what_was_saved_is_not_left_behind(
    journals: Journals, tmp_path: Path, folder: Path
) -> None:
    draw(journals, "drawn", begin(journals, "drawn", ORIGIN))
    journals.replace("drawn", origin=Origin(ORIGIN.case, "q" * 16))
    assert journals.exported("drawn")
    journals.close()
    after = made(tmp_path, folder)
    assert not after.project_leftovers()
    after.close()


def test_no_case_without_its_project(journals: Journals) -> None:
    journals.leave()
    with pytest.raises(UserError, match="closed meanwhile"):
        begin(journals, "late", ORIGIN)
    assert journals.project_leftovers() == ()


def test_listeners_hear_both(journals: Journals, folder: Path) -> None:
    told: list[str] = []
    journals.on_kept = lambda case, when: told.append(case)
    draw(journals, "of a project", begin(journals, "of a project", ORIGIN))
    draw(journals, "plain", begin(journals, "plain", None))
    assert {"of a project", "plain"} <= set(told)


def test_a_project_s_labels_stay_beside_a_case_s() -> None:
    known = LabelTable(
        labels=(
            Label(name="old", value=1),
            Label(name="kept", value=2),
            Label(name="taken", value=3),
        )
    )
    mine = LabelTable(
        labels=(Label(name="new name", value=1), Label(name="more", value=3))
    )
    found = {one.value: one.name for one in merged(known, mine).each()}
    assert found == {1: "new name", 2: "kept", 3: "more"}
    assert merged(None, mine) == mine


def test_recent_projects_are_those_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    assert recent_projects() == ()
    for name in ("one", "two", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "project.json").write_text("{}")
        note_recent(tmp_path / name)
    (tmp_path / "gone" / "project.json").unlink()
    note_recent(tmp_path / "one")
    assert recent_projects() == (tmp_path / "one", tmp_path / "two")
