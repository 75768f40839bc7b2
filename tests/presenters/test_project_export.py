"""Export of all cases, and of one case as a file of another program."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Label, LabelTable
from diffseg.project import store
from diffseg.project.exporting import formats, read_seg_nrrd
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals

TABLE = LabelTable(
    labels=(Label(name="anterior", value=1), Label(name="posterior", value=2))
)
DRAWN = (1, slice(2, 5), slice(3, 7))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journals]:
    made = Journals(Journal(tmp_path / "journal", interval=0.05))
    yield made
    made.close()


@pytest.fixture
def study(
    make_window: Callable[..., Any],
    make_image: Callable[..., Path],
    journal: Journals,
    tmp_path: Path,
) -> Iterator[Any]:
    """A project of two images, one of which is open and drawn in."""
    place = tmp_path / "study"
    with store.create_project(place, labels=TABLE, annotator="head") as project:
        for number, name in enumerate(("brain", "other")):
            image = make_image(f"{name}.nii.gz", shape=(6, 8, 10 + number))
            store.add_case(project, image, annotator="head")
        id = store.find_case(project, "brain").id
    window = make_window(journal=journal)
    window.views.project.open_requested.emit(str(place), "anna")
    window.views.project.case_requested.emit(id)
    window.draw(DRAWN, 2)
    yield window
    window.desk.close()


def test_all_cases_go_out_with_what_was_just_drawn(study: Any, tmp_path: Path) -> None:
    view = study.views.project_export
    offered, current = view.last("show_formats")
    assert [name for name, _ in offered] == list(formats())
    assert current == "nifti"
    view.format_chosen.emit("seg-nrrd")
    (folder,) = view.last("show_folder")
    assert Path(folder) == tmp_path / "study-seg-nrrd"
    view.run_requested.emit()
    (text,) = view.last("show_done")
    assert text == f"{folder}: 1 case in 1 file; 1 without a mask yet"
    back, _, _ = read_seg_nrrd(Path(folder) / "brain.seg.nrrd")
    assert np.array_equal(back, study.case.annotation.values)
    assert view.last("set_ready") == (True, "")
    view.format_chosen.emit("seg-nrrd")
    assert view.last("show_folder") == (f"{folder}2",)


def test_nothing_to_export_is_told(study: Any) -> None:
    study.case.unsaved = False  # so that nothing is saved first
    study.views.project_export.run_requested.emit()
    text, severity = study.views.notices.last("show")
    assert severity == "error"
    assert "no case has a mask" in text
    assert study.views.project_export.last("set_ready") == (True, "")


def test_without_a_project_there_is_nothing_to_choose(study: Any) -> None:
    study.views.project.close_requested.emit()
    view = study.views.project_export
    assert view.last("show_formats")[0] == []
    assert view.last("set_ready") == (False, "open a project first")
    assert view.last("show_done") == ("",)


def test_one_case_as_a_file_of_another_program(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.draw(DRAWN, 2)
    view = window.views.export
    names, _ = view.last("set_formats")
    assert names[2:] == ("3D Slicer (.seg.nrrd)", "Measurements (.csv)")
    view.format_chosen.emit("3D Slicer (.seg.nrrd)")
    view.run_requested.emit()
    path = image.with_name("brain_mask.seg.nrrd")
    back, table, _ = read_seg_nrrd(path, like=window.case.volume.grid)
    assert np.array_equal(back, window.case.annotation.values)
    assert table.names == window.case.table.names
    view.format_chosen.emit("Measurements (.csv)")
    view.run_requested.emit()
    with image.with_name("brain_mask.csv").open(encoding="utf-8") as stream:
        rows = {row["structure"]: row for row in csv.DictReader(stream)}
    assert rows["posterior"]["voxels"] == "12"
    assert rows["posterior"]["made_by"] == "MANUAL"
