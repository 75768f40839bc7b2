"""Formats by name; whole folders or nothing; nnU-Net's data set; the table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from diffseg import UserError
from diffseg.domain import Label, LabelTable, Provenance, StructureReport
from diffseg.progress import run
from diffseg.project.exporting import (
    COLUMNS,
    ExportCase,
    Exported,
    ExportSettings,
    Maker,
    export,
    formats,
)
from diffseg.volume import Affine, Volume
from diffseg_training.dataset import load_dataset, read_image, read_reference

TABLE = LabelTable(
    labels=(
        Label(name="a", value=3, code="SCT:5366008"),
        Label(name="b", value=7),
        Label(name="c", value=9),
    )
)
MADE = Provenance(
    model={"id": "m", "version": "1", "sha256": "ab"},
    seed=5, members=3, steps=1, device="cpu", threads=1, seconds={},
)  # fmt: skip
AGAIN = ExportSettings(overwrite=True)


def affine() -> Affine:
    """Oblique by a turn about S; x runs to the left."""
    turn = np.array([[-0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    return Affine.from_parts((0.5, 2.0, 3.0), (10.0, -20.0, 30.0), turn)


def case_of(name: str = "case01", **given: Any) -> ExportCase:
    """Two parts of `a`, one voxel of `b`, none of `c`."""
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 1:3, 2:5], mask[3, 4, 0] = 3, 3
    mask[0, 0, 5] = 7
    data = np.arange(mask.size, dtype=np.float32).reshape(mask.shape)
    volume = Volume.from_array(np.stack([data, 2 * data]), affine())
    known = {"image": volume, "provenance": MADE, "maker": Maker.CORRECTED} | given
    return ExportCase(name, mask, TABLE, volume.grid, volume.source, **known)


def done(cases: list[ExportCase], name: str, folder: Path, **given: Any) -> Exported:
    return run(export(cases, name, folder, ExportSettings(**given)))


def row_of(folder: Path, structure: str) -> dict[str, str]:
    with (folder / "measurements.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return next(row for row in rows if row["structure"] == structure)


def listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_names_that_the_command_takes() -> None:
    assert tuple(formats()) == ("nifti", "seg-nrrd", "dicom-seg", "nnunet", "csv")
    fitting = [name for name, one in formats().items() if one.fits(case_of())]
    assert "dicom-seg" not in fitting
    assert {"nifti", "seg-nrrd", "nnunet", "csv"} <= set(fitting)
    assert not formats()["nnunet"].fits(case_of(image=None))
    with pytest.raises(UserError, match="did you mean 'dicom-seg'"):
        done([case_of()], "dicomseg", Path("nowhere"))


def test_nifti_has_mask_probability_and_uncertainty(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    probability = rng.random((3, 4, 5, 6)).astype(np.float32)
    uncertainty = rng.random((4, 5, 6)).astype(np.float32)
    case = case_of(probability=probability, uncertainty=uncertainty)

    exported = done([case], "nifti", tmp_path)

    names = [f"case01_{what}.nii.gz" for what in ("mask", "probability", "uncertainty")]
    assert exported.paths == tuple(tmp_path / name for name in names)
    mask, shares, doubt = (nibabel.load(path) for path in exported.paths)
    assert (case.mask == np.asarray(mask.dataobj).T).all()
    assert (probability == np.asarray(shares.dataobj).T).all()
    assert (uncertainty == np.asarray(doubt.dataobj).T).all()
    assert np.abs(mask.affine - case.grid.affine.matrix).max() < 1e-4


def test_the_manifest_lists_the_files_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    done([case_of("one")], "nifti", tmp_path)
    done([case_of("one")], "seg-nrrd", tmp_path)
    done([case_of("two")], "nifti", tmp_path)

    listed = json.loads((tmp_path / "export_nifti.json").read_text())
    assert {one["name"] for one in listed["files"]} == {
        "one_mask.nii.gz",
        "two_mask.nii.gz",
    }
    assert (tmp_path / "mine.txt").read_text() == "x"
    assert (tmp_path / "one.seg.nrrd").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_only_what_is_ours_and_unchanged_is_overwritten(tmp_path: Path) -> None:
    first, other = case_of("one"), case_of("two")
    done([first, other], "nifti", tmp_path)
    before = listing(tmp_path)
    with pytest.raises(UserError, match="from an earlier export"):
        done([first], "nifti", tmp_path)
    assert listing(tmp_path) == before

    changed = replace(first, mask=np.zeros_like(first.mask))
    done([changed], "nifti", tmp_path, overwrite=True)
    assert listing(tmp_path)["two_mask.nii.gz"] == before["two_mask.nii.gz"]
    assert listing(tmp_path)["one_mask.nii.gz"] != before["one_mask.nii.gz"]

    (tmp_path / "two_mask.nii.gz").write_bytes(b"somebody's")
    with pytest.raises(UserError, match="changed since"):
        done([other], "nifti", tmp_path, overwrite=True)
    assert (tmp_path / "two_mask.nii.gz").read_bytes() == b"somebody's"


@pytest.mark.parametrize("name", ["nifti", "nnunet", "csv"])
def test_an_export_that_fails_or_is_stopped_leaves_nothing(
    tmp_path: Path, name: str
) -> None:
    def failing() -> Iterator[ExportCase]:
        yield case_of("one")
        raise UserError("the second case is gone")

    with pytest.raises(UserError, match="second case"):
        run(export(failing(), name, tmp_path / "new"))
    work = export([case_of("one"), case_of("two")], name, tmp_path / "new")
    progress = [next(work), next(work)]
    work.close()
    assert [(one.done, one.total) for one in progress] == [(0, 2), (1, 2)]
    with pytest.raises(UserError, match="rename"):
        done([case_of(), case_of()], name, tmp_path / "new")
    with pytest.raises(UserError, match="no case"):
        done([], name, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_nnunet_reads_as_a_data_set_in_place(tmp_path: Path) -> None:
    case = case_of()

    exported = done([case], "nnunet", tmp_path, dataset_number=7, dataset_name="mine")

    folder = tmp_path / "Dataset007_mine"
    assert {path.relative_to(folder).as_posix() for path in exported.paths} == {
        "dataset.json",
        "diffseg.json",
        "imagesTr/case01_0000.nii.gz",
        "imagesTr/case01_0001.nii.gz",
        "labelsTr/case01.nii.gz",
    }
    told = json.loads((folder / "dataset.json").read_text())
    assert told["labels"] == {"background": 0, "a": 1, "b": 2, "c": 3}
    assert told["numTraining"] == 1
    assert list(told["channel_names"]) == ["0", "1"]
    dataset = load_dataset(folder)
    (read,) = dataset.cases
    image = read_image(read)
    assert image.grid.same_as(case.grid, atol=1e-4)
    assert case.image is not None
    assert (image.data == case.image.data).all()
    mask = read_reference(read, image, dataset.labels)
    assert (mask == case.classes_of(case.mask)).all()
    parts = [
        sitk.ReadImage(str(folder / name))
        for name in ("imagesTr/case01_0000.nii.gz", "labelsTr/case01.nii.gz")
    ]
    assert parts[0].GetDirection() == parts[1].GetDirection()


def test_what_nobody_reviewed_is_ignored_by_nnunet(tmp_path: Path) -> None:
    reviewed = np.ones((4, 5, 6), bool)
    reviewed[2:] = False
    cases = [case_of("seen"), case_of("part", reviewed=reviewed)]

    done(cases, "nnunet", tmp_path)

    folder = tmp_path / "Dataset900_diffseg"
    assert json.loads((folder / "dataset.json").read_text())["labels"]["ignore"] == 4
    mask = np.asarray(nibabel.load(folder / "labelsTr" / "part.nii.gz").dataobj).T
    assert (mask[2:] == 4).all()
    assert (mask[:2] == cases[1].classes_of(cases[1].mask)[:2]).all()


def test_a_data_set_of_somebody_is_kept(tmp_path: Path) -> None:
    done([case_of()], "nnunet", tmp_path)
    with pytest.raises(UserError, match="from an earlier export"):
        done([case_of()], "nnunet", tmp_path)
    done([case_of("other")], "nnunet", tmp_path, overwrite=True)
    folder = tmp_path / "Dataset900_diffseg"
    assert not (folder / "labelsTr" / "case01.nii.gz").exists()
    (folder / "splits.json").write_text("mine")
    with pytest.raises(UserError, match="changed since"):
        done([case_of()], "nnunet", tmp_path, overwrite=True)
    assert (folder / "splits.json").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    one_channel = replace(case_of("x"), image=Volume.from_array(np.zeros((4, 5, 6))))
    with pytest.raises(UserError, match="1 channels, where case01 has 2"):
        done([case_of(), one_channel], "nnunet", tmp_path / "b")
    with pytest.raises(UserError, match="1 to 999"):
        done([case_of()], "nnunet", tmp_path, dataset_name="../x")


def test_the_table_tells_each_class(tmp_path: Path) -> None:
    case = case_of()
    members = np.stack([case.mask] * 3)
    members[1][members[1] == 7] = 0
    members[2, 0, 0, 3:5] = 7
    proposed = case.mask.copy()
    proposed[3, 4, 0] = 0
    uncertainty = np.full(case.mask.shape, 0.25, np.float32)
    uncertainty[0] = 0.75
    case = replace(case, members=members, proposed=proposed, uncertainty=uncertainty)

    done([case], "csv", tmp_path)

    with (tmp_path / "measurements.csv").open() as stream:
        assert tuple(next(csv.reader(stream))) == COLUMNS
    a, b, c = (row_of(tmp_path, one) for one in "abc")
    assert (a["case"], a["label"], a["code"]) == ("case01", "3", "SCT:5366008")
    assert (a["voxels"], a["components"], a["largest_component_voxels"]) == (
        "7", "2", "6",
    )  # fmt: skip
    assert float(a["volume_ml"]) == pytest.approx(7 * 3e-3)
    assert float(a["proposed_volume_ml"]) == pytest.approx(6 * 3e-3)
    box = [a[f"{axis}_{end}"] for axis in "zyx" for end in ("start", "stop")]
    assert box == ["1", "4", "1", "5", "0", "5"]
    extents = [float(a[f"extent_{axis}_mm"]) for axis in "zyx"]
    assert extents == pytest.approx([9.0, 8.0, 2.5])
    # b is the single voxel i, j, k = 5, 0, 0
    place = [float(b[f"centroid_{axis}_mm"]) for axis in "ras"]
    assert place == pytest.approx([10 - 0.8 * 2.5, -20 + 0.6 * 2.5, 30.0])
    assert [b[f"centroid_{axis}"] for axis in "zyx"] == ["0", "0", "5"]
    assert b["mean_intensity"] == "5;10"
    assert float(b["mean_uncertainty"]) == 0.75
    assert float(b["volume_ml_p05"]) == pytest.approx(0.1 * 3e-3)
    assert float(b["volume_ml_p95"]) == pytest.approx(2.8 * 3e-3)
    assert 0 < float(b["expected_dice"]) < 1
    assert (b["model"], b["model_version"], b["seed"]) == ("m", "1", "5")
    assert b["made_by"] == "SEMIAUTOMATIC"
    assert b["area_px"] == b["area_mm2"] == ""
    assert (c["voxels"], c["volume_ml"], c["components"]) == ("0", "0", "0")
    assert c["centroid_r_mm"] == c["mean_intensity"] == c["x_start"] == ""


def test_without_members_the_intervals_are_those_of_the_report(tmp_path: Path) -> None:
    told = StructureReport("b", 7, 2, 0.006, 0.001, 0.009, 0.5)

    done([case_of(structures=(told,))], "csv", tmp_path)

    row = row_of(tmp_path, "b")
    given = [
        row[f"{one}volume_ml{end}"] for one, end in (("proposed_", ""), ("", "_p05"))
    ]
    assert [*given, row["volume_ml_p95"], row["expected_dice"]] == [
        "0.006", "0.001", "0.009", "0.5",
    ]  # fmt: skip
    assert row["volume_ml"] == "0.003"
    assert row_of(tmp_path, "a")["volume_ml_p05"] == ""


def test_a_picture_is_measured_in_pixels(tmp_path: Path) -> None:
    mask = np.zeros((1, 4, 5), np.uint8)
    mask[0, 1, 2:4] = 3
    plain = Volume.from_array(np.ones((4, 5)))
    known = Volume.from_array(np.ones((4, 5)), Affine.from_parts((0.5, 2, 3)))
    cases = [
        ExportCase(name, mask, TABLE, one.grid, one.source)
        for name, one in (("plain", plain), ("known", known))
    ]

    done([cases[0]], "csv", tmp_path / "plain")
    done([cases[1]], "csv", tmp_path / "known")

    row = row_of(tmp_path / "plain", "a")
    assert (row["area_px"], row["area_mm2"], row["volume_ml"]) == ("2", "", "")
    assert row["centroid_r_mm"] == row["extent_x_mm"] == ""
    assert row["centroid_x"] == "2.5"
    assert row["model"] == ""
    assert row["made_by"] == "MANUAL"
    row = row_of(tmp_path / "known", "a")
    assert (row["area_mm2"], row["volume_ml"]) == ("2", "0.006")


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    told = [
        name.strip(" `")
        for line in page.splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].split(",")
    ]
    assert [one for one in told if one in COLUMNS] == list(COLUMNS)
    assert all(f"`{name}`" in page for name in formats())
