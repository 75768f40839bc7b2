"""Which side of the patient is which: known, named at the edges, or not known."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from diffseg.domain import Request
from diffseg.engine.catalogue import find_model
from diffseg.segmenters.checks import SIDES_UNKNOWN, check_request
from diffseg.volume import Affine, Grid, Volume, describe
from diffseg.volume.dicom_sides import NO_SIDES

Write = Callable[..., Path]
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
CORONAL = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
ODD = "odd_files"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writer of small radiographs: ``write("a.dcm", PatientOrientation=[...])``."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import (
        ComputedRadiographyImageStorage,
        ExplicitVRLittleEndian,
        generate_uid,
    )

    def made(name: str = "a.dcm", **tags: Any) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = Dataset()
        file.file_meta = meta
        file.SOPClassUID = ComputedRadiographyImageStorage
        file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID = "1.2.3"
        file.Modality = "CR"
        file.Rows, file.Columns = 4, 5
        file.PixelSpacing = [2.0, 2.0]
        file.SamplesPerPixel = 1
        file.PhotometricInterpretation = "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        file.PixelData = np.arange(20, dtype=np.uint16).tobytes()
        for tag, value in tags.items():
            setattr(file, tag, value)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        file.save_as(path, enforce_file_format=True)
        return path

    return made


def test_a_radiograph_has_the_sides_that_its_header_names(write: Write) -> None:
    grid = Volume.read(write(PatientOrientation=["L", "F"])).grid
    assert grid.has_spacing
    assert not grid.has_sides
    assert grid.named == ("", "I", "L")


@pytest.mark.parametrize(
    "words", [None, [], ["L"], ["L", "L"], ["X", "F"], ["", ""], ["L", "F", "A"]]
)
def test_a_radiograph_without_them_has_none(write: Write, words: Any) -> None:
    more = {} if words is None else {"PatientOrientation": words}
    volume = Volume.read(write(**more))
    assert not volume.grid.has_sides
    assert volume.grid.named == ("", "", "")
    assert NO_SIDES in volume.warnings
    assert NO_SIDES in describe(volume.source.paths[0])["warnings"]


def test_of_an_oblique_edge_the_first_letter_leads(write: Write) -> None:
    grid = Volume.read(write(PatientOrientation=["PL", "FR"])).grid
    assert grid.named == ("", "I", "P")


@pytest.mark.parametrize("cosines", [AXIAL, CORONAL])
def test_an_orientation_makes_them_known(write: Write, cosines: Any) -> None:
    path = write(
        ImageOrientationPatient=cosines,
        ImagePositionPatient=[0.0, 0.0, 0.0],
        PatientOrientation=["R", "H"],
    )
    volume = Volume.read(path)
    assert volume.grid.has_sides
    assert volume.grid.named == ("", "", "")
    assert NO_SIDES not in volume.warnings


def test_a_folder_is_read_the_same_way(write: Write) -> None:
    for number in range(3):
        path = write(f"s/{number}.dcm", InstanceNumber=number + 1)
    assert not Volume.read(path.parent).grid.has_sides
    for number in range(3):
        path = write(
            f"t/{number}.dcm",
            ImageOrientationPatient=AXIAL,
            ImagePositionPatient=[0.0, 0.0, float(number)],
        )
    assert Volume.read(path.parent).grid.has_sides


def test_frames_may_share_an_orientation(data_dir: Path) -> None:
    path = data_dir / ODD / "pydicom" / "liver_expb_1frame.dcm"
    assert Volume.read(path).grid.has_sides


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pydicom/dicomdirtests/77654033/CR1/6154", False),
        ("pydicom/JPEG2000.dcm", False),
        ("pydicom/SC_rgb_rle.dcm", False),
        ("pydicom/rtdose.dcm", True),
        ("pydicom/dicomdirtests/98892003/MR700/4588", True),
        ("nibabel/csa_slice_norm.dcm", True),
        ("derived/no_sform_no_qform.nii.gz", False),
        ("derived/bad_magic.nii", False),
        ("derived/orient_PIR.nii.gz", True),
        ("nibabel/analyze.hdr", False),
        ("nibabel/nifti1.hdr", True),
        ("nibabel/test.mgz", True),
        ("itksnap/X300.mha", False),
        ("itksnap/vb-seg.mha", True),
    ],
)
def test_odd_files(data_dir: Path, name: str, known: bool) -> None:
    assert Volume.read(data_dir / ODD / name).grid.has_sides is known


@pytest.mark.parametrize("series", ["ct_head", "mr_t1post_oblique"])
def test_real_series(data_dir: Path, series: str) -> None:
    assert Volume.read(data_dir / "dicom" / series).grid.has_sides


@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (1, 0), (0, 1), (2, 4)])
def test_nifti_by_its_codes(tmp_path: Path, sform: int, qform: int) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), None)
    image.set_sform(np.eye(4), sform)
    image.set_qform(np.eye(4), qform)
    nib.save(image, tmp_path / "a.nii")
    volume = Volume.read(tmp_path / "a.nii")
    assert volume.grid.has_sides is bool(sform or qform)
    assert any("is a guess" in line for line in volume.warnings) is not bool(
        sform or qform
    )


@pytest.mark.parametrize(
    ("space", "known"),
    [("left-posterior-superior", True), ("3D-right-handed", False), ("", False)],
)
def test_nrrd_by_its_space(tmp_path: Path, space: str, known: bool) -> None:
    where = f"space: {space}" if space else "spacings: 1 1 1"
    turns = "space directions: (1,0,0) (0,1,0) (0,0,1)\n" if space else ""
    header = (
        f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\n{where}\n{turns}"
        "encoding: raw\n\n"
    )
    path = tmp_path / "a.nrrd"
    path.write_bytes(header.encode() + bytes(8))
    assert Volume.read(path).grid.has_sides is known


def test_metaimage_by_its_matrix(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.Image(2, 2, 2, sitk.sitkUInt8), str(path))
    assert Volume.read(path).grid.has_sides
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(x for x in lines if b"TransformMatrix" not in x))
    volume = Volume.read(path)
    assert not volume.grid.has_sides
    assert any("TransformMatrix" in line for line in volume.warnings)


def test_arrays_and_pictures_have_none() -> None:
    assert not Volume.from_array(np.zeros((2, 3, 4))).grid.has_sides
    assert Volume.from_array(np.zeros((2, 3, 4)), np.eye(4)).grid.has_sides


def test_they_go_with_a_grid() -> None:
    grid = Grid((2, 3, 4), Affine.identity(), True, False, ("", "I", "L"))
    cut = grid.cropped(((0, 1), (1, 3), (0, 2)))
    assert (cut.has_sides, cut.named) == (False, ("", "I", "L"))
    turned, _ = grid.reoriented("SLA")
    assert (turned.has_sides, turned.named) == (False, ("I", "R", ""))
    back, _ = turned.reoriented("RAS")
    assert back == grid
    mirrored, _ = grid.reoriented("LPS")
    assert mirrored.named == ("", "S", "R")
    assert pickle.loads(pickle.dumps(grid)) == grid


def test_a_grid_without_sides_is_still_the_same_grid() -> None:
    grid = Grid((2, 3, 4), Affine.identity())
    assert grid.same_as(replace(grid, has_sides=False))
    far = Affine.from_parts((1, 1, 2))
    assert not grid.same_as(Grid((2, 3, 4), far, has_sides=False))


def test_a_model_that_turns_images_says_that_sides_may_be_swapped() -> None:
    card = find_model("hippocampus-mri").card
    assert card.preparation.orientation is not None
    known = Volume.from_array(np.zeros((4, 5, 6), np.float32), np.eye(4))
    unknown = replace(known, grid=replace(known.grid, has_sides=False))
    assert SIDES_UNKNOWN not in check_request(card, Request(known))
    assert check_request(card, Request(unknown)).count(SIDES_UNKNOWN) == 1
    plain = card.preparation.model_copy(update={"orientation": None})
    free = card.model_copy(update={"preparation": plain})
    assert SIDES_UNKNOWN not in check_request(free, Request(unknown))
