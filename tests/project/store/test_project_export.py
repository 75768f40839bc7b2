"""``diffseg project export``: each format from a project, by the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from diffseg.domain import Proposal, StructureReport
from diffseg.project import store
from diffseg.project.exporting import read_dicom_seg, read_seg_nrrd
from diffseg.volume import Volume

Run = Callable[..., Any]
PLANES, ROWS, COLUMNS = 3, 6, 8
MR = UID("1.2.840.10008.5.1.4.1.1.4")

pytestmark = pytest.mark.usefixtures("registered")


def write_series(folder: Path) -> Path:
    """A series of three images, 2.5 mm apart, of a patient with a name."""
    folder.mkdir()
    uids = [generate_uid() for _ in range(3)]
    for plane in range(PLANES):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.PatientName, one.PatientID = "Doe^Jane", "SECRET-77"
        one.PatientBirthDate, one.PatientSex = "19500102", "F"
        one.StudyDate, one.StudyTime = "20200304", "101112"
        one.AccessionNumber, one.StudyID, one.ReferringPhysicianName = "", "1", ""
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = uids
        one.Modality, one.SeriesNumber, one.Manufacturer = "MR", 4, "nobody"
        one.Rows, one.Columns, one.SamplesPerPixel = ROWS, COLUMNS, 1
        one.PhotometricInterpretation = "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 0
        one.InstanceNumber = plane + 1
        one.PixelSpacing, one.SliceThickness = ["0.8", "1.25"], "2.5"
        one.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        one.ImagePositionPatient = ["-31", "12.5", str(40 + 2.5 * plane)]
        one.PixelData = np.full((ROWS, COLUMNS), plane, np.uint16).tobytes()
        one.SOPClassUID, one.SOPInstanceUID = MR, generate_uid()
        one.file_meta.MediaStorageSOPClassUID = MR
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.save_as(folder / f"{plane}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def place(
    tmp_path: Path, told: Run, write_image: Callable[..., Path], proposal: Proposal
) -> Path:
    """A project: a was proposed for and corrected, b is a series that was drawn on."""
    folder = tmp_path / "study"
    told("create", folder, "--labels", "anterior=1,posterior=7")
    told("add", folder, write_image(tmp_path / "a.nii.gz", 3))
    told("add", folder, write_series(tmp_path / "series"), "--name", "b")
    parts = (
        StructureReport("posterior", 7, 6, 0.0045, 0.004, 0.005, 0.75),
        StructureReport("anterior", 1, 6, 0.0045, 0.003, 0.006, 0.5),
    )
    with store.open_project(folder) as project:
        a, b = (store.find_case(project, name) for name in "ab")
        made = store.add_proposal(
            project, a.id, replace(proposal, structures=parts), annotator="anna"
        )
        mask = proposal.mask.copy()
        mask[3, 1, 1] = 1
        store.add_correction(project, a.id, mask, annotator="anna", proposal=made.id)
        store.add_correction(project, b.id, drawn(), annotator="anna")
        for one in (a, b):
            store.set_review(project, one.id, store.State.DONE, reviewer="anna")
    return folder


def drawn() -> np.ndarray:
    mask = np.zeros((PLANES, ROWS, COLUMNS), np.uint8)
    mask[1, 2, 3:6], mask[2, 4, 1] = 1, 7
    return mask


def test_nifti(place: Path, told: Run, proposal: Proposal, tmp_path: Path) -> None:
    made = told("export", place, "--out", tmp_path / "out")
    assert made["cases"] == ["a", "b"]
    names = [Path(file).name for file in made["files"]]
    assert names == [
        "a_mask.nii.gz", "a_probability.nii.gz", "a_uncertainty.nii.gz",
        "b_mask.nii.gz",
    ]  # fmt: skip
    assert all((tmp_path / "out" / name).is_file() for name in names)
    image = nib.load(tmp_path / "out" / "a_mask.nii.gz")
    assert np.asarray(image.dataobj).T[3, 1, 1] == 1
    np.testing.assert_allclose(image.affine, np.diag([0.5, 0.75, 2.0, 1.0]))
    values = nib.load(tmp_path / "out" / "a_probability.nii.gz").get_fdata()
    np.testing.assert_allclose(values.T, proposal.probability)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "b_mask.nii.gz")),
        drawn(),
    )


def test_nnunet(place: Path, told: Run, tmp_path: Path) -> None:
    told("export", place, "--format", "nnunet", "--out", tmp_path / "out")
    (folder,) = (tmp_path / "out").glob("Dataset*")
    content = json.loads((folder / "dataset.json").read_text())
    assert content["numTraining"] == 2
    names = {"background": 0, "anterior": 1, "posterior": 2}
    assert {k: content["labels"][k] for k in names} == names
    for name in "ab":
        assert (folder / "imagesTr" / f"{name}_0000.nii.gz").is_file()
    labels = nib.load(folder / "labelsTr" / "b.nii.gz")
    assert set(np.unique(np.asarray(labels.dataobj))) == {
        0,
        1,
        2,
    }  # indices, not values


def test_seg_nrrd(place: Path, told: Run, tmp_path: Path) -> None:
    told("export", place, "--format", "seg-nrrd", "--out", tmp_path / "out")
    like = Volume.read(tmp_path / "series").grid
    mask, table, _ = read_seg_nrrd(tmp_path / "out" / "b.seg.nrrd", like=like)
    np.testing.assert_array_equal(mask, drawn())
    assert table.names == ("anterior", "posterior")
    assert table.values == (1, 7)


def test_dicom_seg(place: Path, told: Run, refused: Run, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="highdicom is not installed: [dicom]")
    out = tmp_path / "out"
    said = refused("export", place, "--format", "dicom-seg", "--out", out)
    assert "a" in said  # it did not come from DICOM
    assert not list(out.glob("*.dcm"))
    told("export", place, "--format", "dicom-seg", "--case", "b", "--out", out)
    made = pydicom.dcmread(out / "b_seg.dcm")
    assert [one.SegmentLabel for one in made.SegmentSequence] == [
        "anterior", "posterior",
    ]  # fmt: skip
    source = pydicom.dcmread(tmp_path / "series" / "0.dcm")
    assert (
        made.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    )
    assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    grid = Volume.read(tmp_path / "series").grid
    mask = read_dicom_seg(out / "b_seg.dcm", grid)[0]
    np.testing.assert_array_equal(mask > 0, drawn() > 0)


def test_csv_tells_what_the_ensemble_measured(
    place: Path, told: Run, tmp_path: Path
) -> None:
    told("export", place, "--format", "csv", "--out", tmp_path / "out")
    text = (tmp_path / "out" / "measurements.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    keys = [(row["case"], row["structure"], row["label"]) for row in rows]
    assert keys == [
        ("a", "anterior", "1"), ("a", "posterior", "7"),
        ("b", "anterior", "1"), ("b", "posterior", "7"),
    ]  # fmt: skip
    # In the project's order, whatever the report's.
    spans = [(row["volume_ml_p05"], row["volume_ml_p95"]) for row in rows]
    assert spans == [("0.003", "0.006"), ("0.004", "0.005"), ("", ""), ("", "")]
    assert [row["expected_dice"] for row in rows] == ["0.5", "0.75", "", ""]
    assert rows[0]["voxels"] == "7"
    assert rows[0]["made_by"] == "SEMIAUTOMATIC"
    assert rows[2]["made_by"] == "MANUAL"
    assert (rows[0]["model"], rows[0]["seed"]) == ("hippocampus-mri", "3")


def test_what_is_in_the_way_stops_it(
    place: Path, told: Run, refused: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told("export", place, "--out", out)
    assert "--overwrite" in refused("export", place, "--out", out)
    told("export", place, "--out", out, "--overwrite")
    assert "format" in refused("export", place, "--out", out, "--format", "mp3")
