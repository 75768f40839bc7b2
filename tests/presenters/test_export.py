"""Export: on the image's grid, checked, never over something unasked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from diffseg.engine.events import Finished
from diffseg.errors import UserError
from diffseg.volume import Affine, Volume, read_mask
from napari_diffseg.presenters import files


@pytest.fixture
def drawn(window: Any, image: Path) -> Any:
    window.desk.open(str(image))
    window.draw((1, slice(2, 5), slice(3, 7)), 2)
    return window


def test_a_mask_lies_beside_its_image_on_its_grid(drawn: Any, image: Path) -> None:
    target = image.with_name("brain_mask.nii.gz")
    assert drawn.views.export.last("set_path") == (str(target),)
    assert drawn.views.export.last("set_ready") == (True, "")
    drawn.views.export.run_requested.emit()
    back = read_mask(target, like=drawn.case.volume)
    assert np.array_equal(back, drawn.case.annotation.values)
    assert Volume.read(target).grid.affine == drawn.case.volume.grid.affine
    (text,) = drawn.views.export.last("show_done")
    assert text == f"{target}: posterior 12 voxels (0.07 ml)"
    assert drawn.journal.last("exported") == (drawn.case.id,)
    assert drawn.case.unsaved is False
    assert sorted(p.name for p in image.parent.iterdir()) == [
        "brain.nii.gz",
        "brain_mask.json",
        "brain_mask.nii.gz",
    ]


def test_an_oblique_flipped_grid_comes_back(
    window: Any, make_image: Callable[..., Path]
) -> None:
    turn = np.radians(20)
    matrix = np.diag([-1.0, 2.0, -3.0, 1.0])
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    path = make_image(affine=Affine(rotation @ matrix))
    window.desk.open(str(path))
    window.draw((0, 1, 2))
    window.views.export.run_requested.emit()
    back = read_mask(path.with_name("brain_mask.nii.gz"), like=window.case.volume)
    assert np.argwhere(back).tolist() == [[0, 1, 2]]


def test_the_sidecar_says_what_made_it(
    drawn: Any, image: Path, card: Any, propose: Any
) -> None:
    drawn.views.propose.answers["ask_replace"] = False
    drawn.views.propose.run_requested.emit()
    mask = np.zeros(drawn.case.volume.shape, np.uint8)
    mask[3] = 1
    drawn.runner.tell(Finished(propose(drawn.case, mask, card)))
    drawn.views.export.run_requested.emit()
    said = json.loads(image.with_name("brain_mask.json").read_text())
    assert said["model"]["id"] == "hippocampus-mri"
    assert said["model"]["sha256"] == "0" * 64
    assert (said["seed"], said["members"], said["steps"]) == (0, 4, 2)
    assert said["voxels_touched_by_a_person"] == 12
    assert said["voxels_changed_since_proposal"] == 12
    assert [one["voxels"] for one in said["structures"]] == [80, 12]
    assert str(image.parent) not in json.dumps(said)  # no folders of the user's


def test_nothing_is_overwritten_unasked(drawn: Any, image: Path) -> None:
    target = image.with_name("brain_mask.nii.gz")
    target.write_bytes(b"precious")
    drawn.views.export.answers["ask_overwrite"] = False
    drawn.views.export.run_requested.emit()
    assert drawn.views.export.all("ask_overwrite") == [(target,)]
    assert target.read_bytes() == b"precious"
    drawn.views.export.answers["ask_overwrite"] = True
    drawn.views.export.run_requested.emit()
    assert read_mask(target).any()


@pytest.mark.parametrize("name", ["skin_mask.png", "skin_mask.json"])
def test_the_name_that_is_offered_is_no_file_of_others(
    window: Any, tmp_path: Path, name: str
) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "skin.png")
    (tmp_path / name).write_bytes(b"the data set's own")
    (tmp_path / "skin_annotation_mask.png").write_bytes(b"another's")
    window.desk.open(str(tmp_path / "skin.png"))
    export, target = window.views.export, tmp_path / "skin_annotation2_mask.png"
    assert export.last("set_path") == (str(target),)
    window.draw((0, 2, 3))
    export.run_requested.emit()
    assert not export.all("ask_overwrite")
    assert (tmp_path / name).read_bytes() == b"the data set's own"
    assert target.exists()
    # What we wrote ourselves is offered again, and asked for.
    window.views.case.close_requested.emit()
    window.desk.open(str(tmp_path / "skin.png"))
    assert export.last("set_path") == (str(target),)
    export.answers["ask_overwrite"] = False
    export.run_requested.emit()
    assert export.all("ask_overwrite") == [(target,)]


def test_what_was_offered_is_asked_for_where_it_came_into_being_meanwhile(
    window: Any, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "skin.png")
    window.desk.open(str(tmp_path / "skin.png"))
    window.draw((0, 2, 3))
    target = tmp_path / "skin_mask.png"
    target.write_bytes(b"precious")
    window.views.export.answers["ask_overwrite"] = False
    window.views.export.run_requested.emit()
    assert window.views.export.all("ask_overwrite") == [(target,)]
    assert target.read_bytes() == b"precious"
    assert leave_nothing(target) == ["skin.png", "skin_mask.png"]


def test_a_foreign_sidecar_is_asked_for_and_ours_is_not(
    drawn: Any, image: Path
) -> None:
    sidecar = image.with_name("brain_mask.json")
    sidecar.write_text("{}")
    drawn.views.export.answers["ask_overwrite"] = False
    drawn.views.export.run_requested.emit()
    assert drawn.views.export.all("ask_overwrite") == [(sidecar,)]
    assert sidecar.read_text() == "{}"
    sidecar.unlink()
    drawn.views.export.run_requested.emit()
    drawn.views.export.answers["ask_overwrite"] = True
    drawn.views.export.run_requested.emit()
    assert drawn.views.export.last("ask_overwrite")[0].name == "brain_mask.nii.gz"


def test_the_image_itself_is_never_a_target(drawn: Any, image: Path) -> None:
    before = image.read_bytes()
    drawn.views.export.answers["ask_overwrite"] = True
    alias = image.with_name("alias.nii.gz")
    alias.symlink_to(image)
    for path in (image, alias):
        drawn.views.export.path_changed.emit(str(path))
        drawn.views.export.run_requested.emit()
        assert "is the image itself" in drawn.troubles[-1]
    assert image.read_bytes() == before


@pytest.mark.parametrize("name", ["mask.txt", "mask", "folder.nii.gz"])
def test_a_name_that_cannot_be_is_refused(drawn: Any, image: Path, name: str) -> None:
    (image.parent / "folder.nii.gz").mkdir()
    drawn.views.export.path_changed.emit(str(image.with_name(name)))
    drawn.views.export.run_requested.emit()
    assert drawn.troubles
    assert not drawn.views.export.all("show_done")


def test_a_format_gives_the_path_its_suffix(drawn: Any, image: Path) -> None:
    formats = (
        "NIfTI (.nii.gz)",
        "NIfTI (.nii)",
        "3D Slicer (.seg.nrrd)",
        "Measurements (.csv)",
    )
    assert drawn.views.export.last("set_formats") == (formats, formats[0])
    drawn.views.export.format_chosen.emit(formats[1])
    assert drawn.views.export.last("set_path")[0].endswith("brain_mask.nii")
    drawn.views.export.path_changed.emit(str(image.with_name("x.nii.gz")))
    assert drawn.views.export.last("set_formats") == (formats, formats[0])


def test_a_picture_gives_a_picture(window: Any, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "skin.png")
    window.desk.open(str(tmp_path / "skin.png"))
    window.views.model.model_chosen.emit("tumour")
    window.draw((0, 2, 3))
    window.views.export.run_requested.emit()
    with Image.open(tmp_path / "skin_mask.png") as written:
        pixels = np.asarray(written)
    assert np.argwhere(pixels == 255).tolist() == [[2, 3]]
    (told,) = window.views.export.last("show_done")
    assert told.endswith("skin_mask.png: tumour 1 pixel")


def leave_nothing(image: Path) -> list[str]:
    return sorted(p.name for p in image.parent.iterdir())


def test_a_full_disk_leaves_nothing_half_written(
    drawn: Any, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = image.with_name("brain_mask.nii.gz")
    target.write_bytes(b"precious")
    drawn.views.export.answers["ask_overwrite"] = True

    def full(path: Path, payload: bytes) -> None:
        raise UserError(f"cannot write {path.name}: No space left on device")

    monkeypatch.setattr(files, "atomic_write_bytes", full)
    drawn.views.export.run_requested.emit()
    assert "No space left" in drawn.troubles[-1]
    assert ".new-" not in drawn.troubles[-1]
    assert target.read_bytes() == b"precious"
    assert leave_nothing(image) == ["brain.nii.gz", "brain_mask.nii.gz"]
    assert not drawn.journal.all("exported")
    assert drawn.case.unsaved is True


def test_what_reads_back_otherwise_is_not_kept(
    drawn: Any, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_mask

    def flipped(path: Path, mask: Any, *args: Any, **kwargs: Any) -> Path:
        return write(path, mask[:, ::-1], *args, **kwargs)

    monkeypatch.setattr(files, "write_mask", flipped)
    drawn.views.export.run_requested.emit()
    assert "read back with other voxels" in drawn.troubles[-1]
    assert leave_nothing(image) == ["brain.nii.gz"]


def test_strokes_while_it_is_written_stay_unsaved(drawn: Any, image: Path) -> None:
    drawn.background.held = True
    drawn.views.export.run_requested.emit()
    assert drawn.views.export.last("set_ready")[0] is False
    drawn.draw((5, 0, 0), 1)
    drawn.background.go_on()
    assert drawn.case.unsaved is True
    assert not drawn.journal.all("exported")
    back = read_mask(image.with_name("brain_mask.nii.gz"))
    assert back[5, 0, 0] == 0  # as it was when it was asked for


def test_closing_after_an_export_keeps_nothing(drawn: Any) -> None:
    drawn.views.export.run_requested.emit()
    id = drawn.case.id
    drawn.views.case.close_requested.emit()
    assert drawn.journal.all("forget") == [(id,)]


def test_nothing_to_export(window: Any) -> None:
    assert window.views.export.last("set_ready") == (False, "open an image first")
    window.views.export.run_requested.emit()
    assert window.troubles[-1] == "open an image first"


def refuse(path: Path, payload: bytes) -> None:
    raise UserError(f"cannot write {path.name}: No space left on device")


def test_a_case_closed_while_it_is_written_loses_nothing(
    drawn: Any, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "atomic_write_bytes", refuse)
    case = drawn.case
    drawn.background.held = True
    drawn.views.export.run_requested.emit()
    assert case.unsaved
    drawn.views.case.close_requested.emit()
    drawn.background.go_on()
    assert "No space left" in drawn.troubles[-1]
    assert not drawn.journal.all("forget")
    drawn.background.held = False
    drawn.desk.open(str(image))
    assert drawn.case is case
    assert case.unsaved


def test_a_case_closed_while_it_is_written_is_let_go(drawn: Any, image: Path) -> None:
    case = drawn.case
    drawn.background.held = True
    drawn.views.export.run_requested.emit()
    drawn.views.case.close_requested.emit()
    assert not drawn.journal.all("forget")
    drawn.background.go_on()
    assert drawn.journal.all("forget") == [(case.id,)]
    drawn.background.held = False
    drawn.desk.open(str(image))
    assert drawn.case is not case


def test_millimetres_given_by_hand_are_written(window: Any, tmp_path: Path) -> None:
    made = nib.Nifti1Image(np.ones((10, 8, 6), np.uint8), np.diag([5, 5, 5, 1.0]))
    made.header.set_xyzt_units("micron", "sec")
    nib.save(made, tmp_path / "cells.nii.gz")
    window.desk.open(str(tmp_path / "cells.nii.gz"))
    for spacing in ((5.0, 5.0, 5.0), (0.5, 0.5, 0.25)):  # a slip, put right
        assert window.views.case.last("show_facts")[0].needs_spacing
        window.views.case.spacing_given.emit(*spacing)
        window.draw((1, 2, 3))
        window.views.export.answers["ask_overwrite"] = True
        window.views.export.run_requested.emit()
        back = Volume.read(tmp_path / "cells_mask.nii.gz")
        assert back.grid.has_spacing
        assert back.grid.spacing_zyx == spacing


def test_millimetres_that_got_lost_are_told(
    drawn: Any, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_mask

    def in_microns(path: Path, *args: Any, **kwargs: Any) -> Path:
        written = nib.load(write(path, *args, **kwargs))
        written.header.set_xyzt_units("micron")
        nib.save(written, path)
        return path

    monkeypatch.setattr(files, "write_mask", in_microns)
    drawn.views.export.run_requested.emit()
    assert "no millimetres" in drawn.troubles[-1]
    assert leave_nothing(image) == ["brain.nii.gz"]
