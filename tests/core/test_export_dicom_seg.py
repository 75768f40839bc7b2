"""DICOM-SEG: each bit on the source image that it was drawn on, and back again."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from diffseg import UserError
from diffseg.domain import Label, LabelTable, Provenance
from diffseg.project.exporting import (
    ExportCase,
    Maker,
    read_dicom_seg,
    write_dicom_seg,
)
from diffseg.volume import Affine, Volume, write_mask

hd = pytest.importorskip("highdicom", reason="highdicom is not installed: [dicom]")

WHEN = datetime(2024, 5, 6, 7, 8, 9)
TABLE = LabelTable(
    labels=(
        Label(name="Läsion", value=3, code="SCT:52988006", color="#0072B2"),
        Label(name="something", value=7, color="#D55E00"),
        Label(name="hippocampus", value=9, code="SCT:5366008"),
    )
)
MADE = Provenance(
    model={"id": "hippocampus-mri", "version": "1.2", "sha256": "ab12"},
    seed=5, members=8, steps=1, device="cpu", threads=1, seconds={},
)  # fmt: skip
PLANES, ROWS, COLUMNS = 4, 5, 7
"""35 pixels: a frame of bits ends within a byte."""


def cosines(oblique: bool) -> NDArray[np.float64]:
    """Row and column directions in LPS, turned about two axes."""
    if not oblique:
        return np.array([[1.0, 0, 0], [0, 1.0, 0]])
    a, b = np.radians([17.0, -23.0])
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    then = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return (first @ then)[:, :2].T


def text(numbers: Any) -> list[str]:
    return [f"{number:.10f}"[:16] for number in numbers]


def header(uids: tuple[str, str, str], patient: str) -> Dataset:
    """What every image of a series repeats."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SpecificCharacterSet = "ISO_IR 100"
    one.PatientName, one.PatientID = patient, "SECRET-77"
    one.PatientBirthDate, one.PatientSex = "19500102", "F"
    one.StudyDate, one.StudyTime = "20200304", "101112"
    one.AccessionNumber, one.StudyID = "", "1"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = uids
    one.Modality, one.SeriesNumber, one.Manufacturer = "MR", 4, "nobody"
    one.ReferringPhysicianName = ""
    one.Rows, one.Columns, one.SamplesPerPixel = ROWS, COLUMNS, 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    return one


def numbered(plane: int) -> NDArray[np.uint16]:
    """Pixels of a plane, each of its own number over the whole series."""
    size = ROWS * COLUMNS
    return (np.arange(size).reshape(ROWS, COLUMNS) + 1 + plane * size).astype(np.uint16)


def save(one: Dataset, sop_class: str, path: Path) -> None:
    one.SOPClassUID, one.SOPInstanceUID = sop_class, generate_uid()
    one.file_meta.MediaStorageSOPClassUID = sop_class
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.save_as(path, enforce_file_format=True)


def series(
    folder: Path,
    *,
    oblique: bool = True,
    tilt: float = 0.0,
    patient: str = "Müller^Änne",
) -> Path:
    """A series of single images; the first in space is the last by number and name."""
    folder.mkdir(parents=True)
    uids = (generate_uid(), generate_uid(), generate_uid())
    row, column = cosines(oblique)
    step = 2.5 * np.cross(row, column) + tilt * column
    for plane in range(PLANES):
        one = header(uids, patient)
        one.InstanceNumber = PLANES - plane
        one.PixelSpacing, one.SliceThickness = ["0.8", "1.25"], "2"
        one.ImageOrientationPatient = text([*row, *column])
        one.ImagePositionPatient = text(np.array([-31.0, 12.5, 40.0]) + plane * step)
        one.PixelData = numbered(plane).tobytes()
        path = folder / f"{PLANES - plane:02d}.dcm"
        save(one, "1.2.840.10008.5.1.4.1.1.4", path)
    return folder


def multiframe(path: Path) -> Path:
    """One enhanced MR image, its frames from the far end of the normal on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    one = header((generate_uid(), generate_uid(), generate_uid()), "Müller^Änne")
    row, column = cosines(True)
    step = -2.5 * np.cross(row, column)
    one.ContentDate, one.ContentTime = "20200304", "101112"
    one.InstanceNumber, one.NumberOfFrames = 1, PLANES
    one.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    shared, measures, turn = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.8", "1.25"], "2.5"
    measures.SpacingBetweenSlices = "2.5"
    turn.ImageOrientationPatient = text([*row, *column])
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [turn]
    one.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for plane in range(PLANES):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = text(np.array([5.0, -7.5, 90.0]) + plane * step)
        content.DimensionIndexValues = [plane + 1]
        group.PlanePositionSequence = [place]
        group.FrameContentSequence = [content]
        groups.append(group)
    one.PerFrameFunctionalGroupsSequence = groups
    one.PixelData = np.stack([numbered(k) for k in range(PLANES)]).tobytes()
    save(one, "1.2.840.10008.5.1.4.1.1.4.1", path)
    return path


def case_of(volume: Volume, **given: Any) -> ExportCase:
    """A mask that no flip and no swap of slices or classes leaves as it is."""
    noise = np.random.default_rng(3).random(volume.shape)
    mask = np.zeros(volume.shape, np.uint8)
    mask[noise > 0.6], mask[noise > 0.75], mask[0, :2, 1:4] = 3, 7, 9
    given = {"provenance": MADE, "maker": Maker.CORRECTED} | given
    return ExportCase("case01", mask, TABLE, volume.grid, volume.source, **given)


def drawn(
    case: ExportCase, path: Path, sources: dict[str, NDArray[Any]]
) -> NDArray[Any]:
    """The mask by value, put together from what the frames refer to, by pydicom alone.

    `sources` are pixels by SOP instance; a multi-frame's are (Z, Y, X).
    """
    found = pydicom.dcmread(path)
    frames = found.pixel_array
    numbers: dict[int, int] = {}
    for frame, group in zip(
        frames, found.PerFrameFunctionalGroupsSequence, strict=True
    ):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        origin = group.DerivationImageSequence[0].SourceImageSequence[0]
        pixels = sources[origin.ReferencedSOPInstanceUID]
        if pixels.ndim == 3:
            pixels = pixels[int(origin.ReferencedFrameNumber) - 1]
        for pixel in pixels[frame > 0]:
            assert int(pixel) not in numbers
            numbers[int(pixel)] = TABLE.values[segment - 1]
    return np.vectorize(lambda one: numbers.get(int(one), 0))(case.image.data[0])


def pixels_of(folder: Path) -> dict[str, NDArray[Any]]:
    files = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return {one.SOPInstanceUID: one.pixel_array for one in files}


def lps_of(image: sitk.Image) -> NDArray[np.float64]:
    """From (x, y, z) to LPS+ mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def resampled(
    array: NDArray[Any], lps: NDArray[np.float64], like: Volume
) -> NDArray[Any]:
    """Voxels of `like`, looked up by their place; `lps` maps the array's indices."""
    zyx = np.stack(np.meshgrid(*map(np.arange, like.shape), indexing="ij"), -1)
    places = (like.grid.affine @ zyx[..., ::-1].astype(float)) * (-1, -1, 1)
    inverse = np.linalg.inv(lps)
    found = places @ inverse[:3, :3].T + inverse[:3, 3]
    assert np.abs(found - np.rint(found)).max() < 1e-3
    first, second, third = np.moveaxis(np.rint(found).astype(int), -1, 0)
    assert min(first.min(), second.min(), third.min()) >= 0
    return array[first, second, third]


@pytest.mark.parametrize("oblique", [True, False])
def test_each_bit_refers_to_the_pixel_it_was_drawn_on(
    tmp_path: Path, oblique: bool
) -> None:
    folder = series(tmp_path / "in", oblique=oblique)
    volume = Volume.read(folder)
    case = case_of(volume, image=volume)
    path = tmp_path / "case01_seg.dcm"

    assert write_dicom_seg(path, case, WHEN) == ()

    assert (drawn(case, path, pixels_of(folder)) == case.mask).all()
    places = {
        one.SOPInstanceUID: list(one.ImagePositionPatient)
        for one in map(pydicom.dcmread, folder.glob("*.dcm"))
    }
    for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        origin = group.DerivationImageSequence[0].SourceImageSequence[0]
        own = list(group.PlanePositionSequence[0].ImagePositionPatient)
        assert own == places[origin.ReferencedSOPInstanceUID]


@pytest.mark.parametrize("kind", ["series", "multiframe"])
def test_what_other_readers_see_lies_on_the_source_grid(
    tmp_path: Path, kind: str
) -> None:
    source = (
        series(tmp_path / "in")
        if kind == "series"
        else multiframe(tmp_path / "in" / "many.dcm")
    )
    volume = Volume.read(source)
    case = case_of(volume)
    path = tmp_path / "case01_seg.dcm"
    write_dicom_seg(path, case, WHEN)
    classes = case.classes_of(case.mask)

    found = hd.seg.segread(path).get_volume(combine_segments=True)
    assert (resampled(found.array, found.affine, volume) == classes).all()

    image = sitk.ReadImage(str(path))
    frames = sitk.GetArrayFromImage(image).reshape(len(TABLE), *volume.shape)
    for number, inside in enumerate(frames > 0, start=1):
        assert (resampled(inside.T, lps_of(image), volume) == (classes == number)).all()
    if kind == "series":  # in the order of the volume
        assert Affine.from_lps(lps_of(image)).is_close(volume.grid.affine, atol=1e-4)
        assert ((frames[0] > 0) == (classes == 1)).all()

    # and ours
    mask, labels = read_dicom_seg(path, volume.grid)
    assert (mask == classes).all()
    assert labels.names == TABLE.names
    assert [label.code for label in labels.each()] == [
        "SCT:52988006",
        None,
        "SCT:5366008",
    ]
    for label, wanted in zip(labels.each(), TABLE.each(), strict=True):
        got, want = (
            np.array([int(one.color[at : at + 2], 16) for at in (1, 3, 5)])
            for one in (label, wanted)
        )
        assert np.abs(got - want).max() <= 2


def test_frames_of_a_multiframe_are_referred_to_by_number(tmp_path: Path) -> None:
    source = multiframe(tmp_path / "in" / "many.dcm")
    volume = Volume.read(source)
    case = case_of(volume, image=volume)
    path = tmp_path / "seg.dcm"

    write_dicom_seg(path, case, WHEN)

    assert (drawn(case, path, pixels_of(source.parent)) == case.mask).all()


def test_segments_say_what_they_are_and_who_drew_them(tmp_path: Path) -> None:
    volume = Volume.read(series(tmp_path / "in"))
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, case_of(volume), WHEN)
    found = pydicom.dcmread(path)

    def coded(item: Any, name: str) -> tuple[str, str, str]:
        term = item[name][0]
        return (term.CodingSchemeDesignator, term.CodeValue, term.CodeMeaning)

    category, kind = (
        f"SegmentedProperty{what}CodeSequence" for what in ("Category", "Type")
    )
    first, second, third = found.SegmentSequence
    assert coded(first, category)[1:] == (
        "49755003",
        "Morphologically Abnormal Structure",
    )
    assert coded(first, kind) == ("SCT", "52988006", "Lesion")
    assert coded(second, category) == coded(second, kind)
    assert coded(second, kind) == ("SCT", "85756007", "Tissue")
    assert coded(third, category)[1:] == ("91723000", "Anatomical Structure")
    assert first.SegmentLabel == "Läsion"
    assert first.SegmentAlgorithmType == "SEMIAUTOMATIC"
    model = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (model.AlgorithmName, model.AlgorithmVersion) == ("hippocampus-mri", "1.2")
    assert "seed=5" in "".join(model.AlgorithmParameters)
    assert str(found.PatientName) == "Müller^Änne"
    assert found.PatientID == "SECRET-77"
    assert found.ContentDate == found.SeriesDate == "20240506"

    write_dicom_seg(path, case_of(volume, provenance=None), WHEN)
    alone = pydicom.dcmread(path).SegmentSequence[0]
    assert alone.SegmentAlgorithmType == "MANUAL"
    assert "SegmentationAlgorithmIdentificationSequence" not in alone


def test_the_same_case_at_the_same_time_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = Volume.read(series(tmp_path / "in"))
    case = case_of(volume)
    uids = []
    for name, when in (("a", WHEN), ("b", WHEN), ("c", WHEN.replace(second=10))):
        write_dicom_seg(tmp_path / name, case, when)
        uids.append(pydicom.dcmread(tmp_path / name).SOPInstanceUID)

    assert uids[0] == uids[1] != uids[2]
    empty = case_of(volume)
    empty.mask[:] = 0
    write_dicom_seg(tmp_path / "d", empty, WHEN)
    assert pydicom.dcmread(tmp_path / "d").SOPInstanceUID not in uids
    assert not read_dicom_seg(tmp_path / "d", volume.grid)[0].any()


def test_the_patient_is_in_the_object_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = series(tmp_path / "in", patient="Mustermann")
    volume = Volume.read(folder)
    with caplog.at_level(logging.DEBUG):
        for name in logging.Logger.manager.loggerDict:
            if name.startswith("highdicom"):
                caplog.set_level(logging.DEBUG, logger=name)
        write_dicom_seg(tmp_path / "seg.dcm", case_of(volume), WHEN)
    said = caplog.text + "".join(capfd.readouterr())

    assert str(pydicom.dcmread(tmp_path / "seg.dcm").PatientName) == "Mustermann"
    assert "Mustermann" not in said
    assert "SECRET-77" not in said


def test_a_tilted_stack_is_refused(tmp_path: Path) -> None:
    volume = Volume.read(series(tmp_path / "in", tilt=0.7))
    assert not volume.grid.affine.is_orthogonal

    with pytest.raises(UserError, match="tilt"):
        write_dicom_seg(tmp_path / "seg.dcm", case_of(volume), WHEN)
    assert not (tmp_path / "seg.dcm").exists()


def test_what_is_not_the_series_any_more_is_refused(tmp_path: Path) -> None:
    folder = series(tmp_path / "in")
    volume = Volume.read(folder)
    write_mask(tmp_path / "a.nii", np.zeros(volume.shape, np.uint8), volume.grid,
               volume.source)  # fmt: skip
    with pytest.raises(UserError, match="needs a DICOM series"):
        write_dicom_seg(tmp_path / "s.dcm", case_of(Volume.read(tmp_path / "a.nii")))

    one = pydicom.dcmread(folder / "02.dcm")
    one.ImagePositionPatient = text(np.array(one.ImagePositionPatient, float) + 9)
    one.save_as(folder / "02.dcm")
    with pytest.raises(UserError, match="does not lie in plane"):
        write_dicom_seg(tmp_path / "s.dcm", case_of(volume))
    (folder / "02.dcm").unlink()
    with pytest.raises(UserError, match="has changed since"):
        write_dicom_seg(tmp_path / "s.dcm", case_of(volume))
    assert not (tmp_path / "s.dcm").exists()


def test_a_series_without_a_frame_of_reference_is_given_one_and_says_so(
    tmp_path: Path,
) -> None:
    folder = series(tmp_path / "in")
    for path in folder.glob("*.dcm"):
        one = pydicom.dcmread(path)
        del one.FrameOfReferenceUID
        del one.StudyID  # nor what else should be there
        one.PatientSex = "X"
        one.save_as(path)
    volume = Volume.read(folder)
    case = case_of(volume, image=volume)

    (note,) = write_dicom_seg(tmp_path / "seg.dcm", case, WHEN)

    assert "no frame of reference" in note
    assert pydicom.dcmread(tmp_path / "seg.dcm").FrameOfReferenceUID
    found = drawn(case, tmp_path / "seg.dcm", pixels_of(folder))
    assert (found == case.mask).all()


def test_a_bad_name_or_code_is_told_in_one_line(tmp_path: Path) -> None:
    volume = Volume.read(series(tmp_path / "in"))
    mask = np.zeros(volume.shape, np.uint8)
    for label, words in (
        (Label(name="x" * 65, value=1), "at most 64"),
        (Label(name="a", value=1, code="lesion"), "not scheme:value"),
    ):
        case = ExportCase(
            "c", mask, LabelTable(labels=(label,)), volume.grid, volume.source
        )
        with pytest.raises(UserError, match=words) as told:
            write_dicom_seg(tmp_path / "s.dcm", case)
        assert "\n" not in str(told.value)


def test_reading_refuses_other_grids_overlaps_and_other_objects(tmp_path: Path) -> None:
    volume = Volume.read(series(tmp_path / "in"))
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, case_of(volume), WHEN)
    with pytest.raises(UserError, match="not a DICOM segmentation"):
        read_dicom_seg(tmp_path / "in" / "01.dcm", volume.grid)
    flipped, _ = volume.grid.reoriented("RAS")
    if flipped.shape == volume.shape:
        with pytest.raises(UserError, match="does not lie in a plane"):
            read_dicom_seg(path, flipped)
    shifted = volume.grid.cropped(((1, PLANES + 1), (0, ROWS), (0, COLUMNS)))
    with pytest.raises(UserError, match="does not lie in a plane"):
        read_dicom_seg(path, shifted)
    sideways = volume.grid.cropped(((0, PLANES), (1, ROWS + 1), (0, COLUMNS)))
    with pytest.raises(UserError, match="does not lie in a plane"):
        read_dicom_seg(path, sideways)

    found = pydicom.dcmread(path)
    ones = np.ones(len(TABLE) * PLANES * ROWS * COLUMNS, np.uint8)
    packed = np.packbits(ones, bitorder="little").tobytes()
    found.PixelData = packed + b"\0" * (len(packed) % 2)
    found.save_as(path)
    with pytest.raises(UserError, match="overlap"):
        read_dicom_seg(path, volume.grid)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mr_t1post_oblique", "ct_head"])
def test_real_series(data_dir: Path, tmp_path: Path, name: str) -> None:
    folder = data_dir / "dicom" / name
    volume = Volume.read(folder)
    case = case_of(volume)
    path = tmp_path / "seg.dcm"

    notes = write_dicom_seg(path, case, WHEN)

    assert len(notes) == (name == "ct_head")  # which has no frame of reference
    classes = case.classes_of(case.mask)
    files = sorted(folder.iterdir())
    heads = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, files)}
    found = pydicom.dcmread(path)
    frames = found.pixel_array
    for frame, group in zip(
        frames, found.PerFrameFunctionalGroupsSequence, strict=True
    ):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        origin = group.DerivationImageSequence[0].SourceImageSequence[0]
        head = heads[origin.ReferencedSOPInstanceUID]
        ras = np.array(head.ImagePositionPatient, float) * (-1, -1, 1)
        place = volume.grid.affine.inverse() @ ras
        assert np.abs(place - np.rint(place)).max() < 5e-3
        assert ((frame > 0) == (classes[round(place[2])] == segment)).all()
    image = sitk.ReadImage(str(path))
    seen = sitk.GetArrayFromImage(image).reshape(len(TABLE), *volume.shape) > 0
    assert all((seen[n] == (classes == n + 1)).all() for n in range(len(TABLE)))
    assert Affine.from_lps(lps_of(image)).is_close(volume.grid.affine, atol=1e-4)
    by_source = hd.seg.segread(path).get_pixels_by_source_instance(
        [
            uid
            for uid, _ in sorted(
                heads.items(),
                key=lambda one: (
                    volume.grid.affine.inverse()
                    @ (np.array(one[1].ImagePositionPatient, float) * (-1, -1, 1))
                )[2],
            )
        ],
        combine_segments=True,
    )
    assert (by_source == classes).all()
    assert (read_dicom_seg(path, volume.grid)[0] == classes).all()
