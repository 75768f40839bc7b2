"""Every reader, against the toolkit that wrote the file; and what is refused."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from diffseg.errors import UserError
from diffseg.volume import Volume, check_readable, describe, list_series, stem_of

SHAPE = (4, 5, 6)
AFFINE = np.array([[2.0, 0, 0, -9], [0, 3, 0, 8], [0, 0, 4, 7], [0, 0, 0, 1]])
INFO_KEYS = {
    "shape", "spacing_mm", "orientation", "affine", "units", "dtype", "modality",
    "source_format", "warnings",
}  # fmt: skip


def _voxels(shape=SHAPE, dtype=np.int16):
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def _nifti(path: Path, voxels=None, affine=AFFINE, kind=nib.Nifti1Image) -> Path:
    image = kind(_voxels() if voxels is None else voxels, affine)
    if kind is not nib.MGHImage and hasattr(image.header, "set_xyzt_units"):
        image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def _dicom_slice(path: Path, number: int, place=None, **tags) -> Path:
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CTImageStorage
    header.SOPInstanceUID = f"1.2.3.{tags.get('SeriesInstanceUID', '9')}.{number}"
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.SeriesInstanceUID, header.Modality = "1.2.3.9", "CT"
    header.PatientName = header.PatientID = "nobody"
    header.Rows, header.Columns, header.SamplesPerPixel = 4, 6, 1
    header.PixelSpacing = [0.5, 0.75]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.ImagePositionPatient = [10, 20, 2.5 * number] if place is None else place
    header.InstanceNumber = number
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    for name, value in tags.items():
        setattr(header, name, value)
    rows, columns = header.Rows, header.Columns
    header.PixelData = np.full((rows, columns), number, "<i2").tobytes()
    path.parent.mkdir(exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


# --- nibabel ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "source_format"),
    [
        ("a.nii", nib.Nifti1Image, "nifti1"),
        ("a.nii.gz", nib.Nifti1Image, "nifti1"),
        ("a.NII.GZ", nib.Nifti1Image, "nifti1"),
        ("a.nii", nib.Nifti2Image, "nifti2"),
        ("a.img", nib.Nifti1Pair, "nifti-pair"),
        ("a.hdr", nib.Nifti1Pair, "nifti-pair"),
        ("a.img", nib.Spm2AnalyzeImage, "analyze"),
        ("a.mgz", nib.MGHImage, "mgh"),
        ("a.mgh", nib.MGHImage, "mgh"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nibabel's MGH
def test_nibabel_formats(name, kind, source_format, tmp_path) -> None:
    path = _nifti(tmp_path / name, kind=kind)
    volume = Volume.read(path)
    facts = describe(path)
    expected = nib.load(path)
    np.testing.assert_array_equal(volume.data[0].T, expected.get_fdata())
    np.testing.assert_allclose(facts["affine"], expected.affine)
    assert volume.shape == SHAPE[::-1]
    assert volume.name == "a"
    assert facts["source_format"] == source_format
    assert facts["dtype"] == "int16"
    assert set(facts) == INFO_KEYS
    json.dumps(facts)


def test_facts_of_a_nifti(tmp_path) -> None:
    facts = describe(_nifti(tmp_path / "case.nii.gz"))
    assert facts == {
        "shape": [4, 5, 6],
        "spacing_mm": [2.0, 3.0, 4.0],
        "orientation": "RAS",
        "affine": AFFINE.tolist(),
        "units": "mm",
        "dtype": "int16",
        "modality": None,
        "source_format": "nifti1",
        "warnings": [],
    }


def test_scaled_integers_are_what_nibabel_says(tmp_path) -> None:
    values = np.linspace(-1000, 3000, 120).reshape(SHAPE)
    image = nib.Nifti1Image(values, AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = Volume.read(tmp_path / "a.nii.gz")
    expected = nib.load(tmp_path / "a.nii.gz").get_fdata()
    np.testing.assert_array_equal(volume.data[0].T, expected)
    assert not np.array_equal(expected, np.rint(expected))


def test_big_endian_becomes_native(tmp_path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nib.save(nib.Nifti1Image(_voxels(), AFFINE, header), tmp_path / "a.nii")
    volume = Volume.read(tmp_path / "a.nii")
    assert volume.data.dtype.isnative
    assert volume.data.flags.c_contiguous
    np.testing.assert_array_equal(volume.data[0].T, _voxels())


def test_nan_and_inf_stay(tmp_path) -> None:
    values = _voxels(dtype=np.float32)
    values[0, 0, 0], values[1, 1, 1] = np.nan, np.inf
    data = Volume.read(_nifti(tmp_path / "a.nii.gz", values)).data
    assert np.isnan(data[0, 0, 0, 0])
    assert np.isposinf(data[0, 1, 1, 1])


def test_frames(tmp_path) -> None:
    values = _voxels((*SHAPE, 3))
    path = _nifti(tmp_path / "a.nii.gz", values)
    first = Volume.read(path)
    assert "frame 0" in first.warnings[0]
    assert first.source.shape == (*SHAPE, 3)
    np.testing.assert_array_equal(first.data[0].T, values[..., 0])
    last = Volume.read(path, frame=2)
    assert last.warnings == ()
    np.testing.assert_array_equal(last.data[0].T, values[..., 2])
    for frame in (3, -1):
        with pytest.raises(UserError, match=f"frame {frame} "):
            Volume.read(path, frame=frame)
    with pytest.raises(UserError, match="frame 1"):
        Volume.read(_nifti(tmp_path / "b.nii.gz"), frame=1)


def test_five_dimensions(tmp_path) -> None:
    vector = _voxels((*SHAPE, 1, 3))
    volume = Volume.read(_nifti(tmp_path / "v.nii.gz", vector))
    assert volume.channels == 3
    np.testing.assert_array_equal(volume.data[2].T, vector[..., 0, 2])
    series = _voxels((*SHAPE, 2, 1))
    volume = Volume.read(_nifti(tmp_path / "s.nii.gz", series), frame=1)
    np.testing.assert_array_equal(volume.data[0].T, series[..., 1, 0])
    with pytest.raises(UserError, match="5D"):
        Volume.read(_nifti(tmp_path / "x.nii.gz", _voxels((*SHAPE, 2, 3))))


def test_rgb_voxels_are_channels(tmp_path) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    values = np.zeros(SHAPE, kind)
    values["G"] = 7
    volume = Volume.read(_nifti(tmp_path / "a.nii.gz", values))
    assert volume.channels == 3
    assert volume.data.max(axis=(1, 2, 3)).tolist() == [0, 7, 0]
    assert volume.source.dtype == "uint8"


def test_complex_voxels_are_refused(tmp_path) -> None:
    path = _nifti(tmp_path / "a.nii.gz", _voxels(dtype=np.complex64))
    with pytest.raises(UserError, match="not real numbers"):
        Volume.read(path)


def test_several_files_are_channels(tmp_path) -> None:
    one, two = _nifti(tmp_path / "t1.nii.gz"), _nifti(tmp_path / "t2.nii.gz")
    for joined in (f"{one};{two}", [one, two], [str(one), str(two)]):
        volume = Volume.read(joined)
        assert volume.channels == 2
        assert volume.name == "t1"
        assert volume.source.paths == (str(one), str(two))
    far = _nifti(tmp_path / "far.nii.gz", affine=AFFINE + np.eye(4, k=3))
    with pytest.raises(UserError, match="not on the grid"):
        Volume.read([one, far])


def test_no_form_and_two_forms_are_told(tmp_path) -> None:
    image = nib.Nifti1Image(_voxels(), None)
    nib.save(image, tmp_path / "none.nii")
    assert "no sform" in describe(tmp_path / "none.nii")["warnings"][0]
    image = nib.Nifti1Image(_voxels(), AFFINE)
    image.set_qform(AFFINE @ np.diag([1, 1, 1.5, 1]), code=1)
    nib.save(image, tmp_path / "two.nii")
    assert "differ" in describe(tmp_path / "two.nii")["warnings"][0]


def test_other_units_give_no_millilitres(tmp_path) -> None:
    image = nib.Nifti1Image(_voxels(), AFFINE)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    facts = describe(tmp_path / "a.nii")
    assert facts["units"] == "micron"
    assert facts["spacing_mm"] is None
    assert Volume.read(tmp_path / "a.nii").grid.voxel_ml is None


# --- lazy, picklable -------------------------------------------------------


def test_voxels_load_on_first_use(tmp_path) -> None:
    path = _nifti(tmp_path / "a.nii.gz")
    volume = Volume.read(path)
    assert not volume.is_loaded
    assert check_readable(volume).is_loaded is False
    first = volume.data
    assert volume.data is first
    path.unlink()
    assert volume.data is first
    again = pickle.loads(pickle.dumps(volume))
    with pytest.raises(UserError, match=r"a\.nii\.gz"):
        _ = again.data


def test_it_crosses_a_process_border(tmp_path) -> None:
    for path in (_nifti(tmp_path / "a.nii.gz"), _png(tmp_path / "a.png", "L")):
        volume = Volume.read(path)
        again = pickle.loads(pickle.dumps(volume))
        np.testing.assert_array_equal(again.data, volume.data)
        assert again.grid == volume.grid


# --- from_array ------------------------------------------------------------


def test_from_array() -> None:
    volume = Volume.from_array(_voxels(), AFFINE, name="mine")
    assert volume.shape == SHAPE
    assert volume.source.shape == SHAPE[::-1]
    assert volume.name == "mine"
    assert volume.grid.spacing_zyx == (4, 3, 2)
    flat = Volume.from_array(np.zeros((3, 4)))
    assert flat.shape == (1, 3, 4)
    assert not flat.grid.has_spacing
    assert Volume.from_array(np.zeros((2, 3, 4, 5))).channels == 2
    again = pickle.loads(pickle.dumps(volume))
    np.testing.assert_array_equal(again.data, volume.data)
    for bad in (np.zeros(3), np.zeros((0, 2)), np.zeros((2, 2), complex)):
        with pytest.raises(UserError):
            Volume.from_array(bad)


# --- ITK -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nhdr"])
@pytest.mark.parametrize("dims", [2, 3, 4])
def test_itk_formats(suffix, dims, tmp_path) -> None:
    values = _voxels((2, 3, 4, 5)[-dims:])
    image = sitk.GetImageFromArray(values, isVector=False)
    image.SetSpacing((0.5, 1.5, 2.5, 1.0)[:dims])
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path))
    volume = Volume.read(path, frame=1 if dims == 4 else None)
    expected = values[1] if dims == 4 else values
    np.testing.assert_array_equal(volume.data[0], expected.reshape(volume.shape))
    assert volume.source.shape == image.GetSize()
    assert volume.grid.affine.spacing[:2] == (0.5, 1.5)
    assert volume.grid.affine.orientation == "LPS"


def test_vector_nrrd_is_channels(tmp_path) -> None:
    values = _voxels((3, 4, 5, 2), np.float32)
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(path))
    volume = Volume.read(path)
    np.testing.assert_array_equal(volume.data, np.moveaxis(values, -1, 0))


def test_complex_nrrd_is_refused(tmp_path) -> None:
    values = _voxels((3, 4, 5), np.complex64)
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    with pytest.raises(UserError, match="real-valued"):
        Volume.read(path)


# --- DICOM -----------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in (1, 2, 3, 10):
        name = {1: "z", 2: "b", 3: "a", 10: "m"}[number]
        place = [10, 20, 2.5 * (4 if number == 10 else number)]
        _dicom_slice(tmp_path / "ct" / name, number, place)
    (tmp_path / "ct" / "notes.txt").write_text("not an image")
    return tmp_path / "ct"


def test_a_series_is_ordered_by_position(folder) -> None:
    volume = Volume.read(folder)
    assert volume.shape == (4, 4, 6)
    np.testing.assert_array_equal(volume.data[0, :, 0, 0] + 1024, [1, 2, 3, 10])
    facts = describe(folder)
    assert facts["spacing_mm"] == pytest.approx([0.75, 0.5, 2.5])
    assert facts["modality"] == "CT"
    assert facts["warnings"] == []
    assert volume.grid.affine.origin == (-10, -20, 2.5)
    assert volume.name == "ct"


def test_several_series_want_a_choice(folder) -> None:
    for number in (1, 2):
        _dicom_slice(folder / f"other{number}", number, SeriesInstanceUID="1.2.3.7")
    assert [info.n_slices for info in list_series(folder)] == [2, 4]
    with pytest.raises(UserError, match=r"2 series.*1\.2\.3\.7.*1\.2\.3\.9"):
        Volume.read(folder)
    assert Volume.read(folder, series="1.2.3.7").shape == (2, 4, 6)
    with pytest.raises(UserError, match=r"no series 5; it holds 1\.2\.3\.7"):
        Volume.read(folder, series="5")


def test_a_gap_is_told(folder) -> None:
    (folder / "a").unlink()
    assert "slice spacing varies" in Volume.read(folder).warnings[0]


def test_a_tilt_is_told_and_kept(tmp_path) -> None:
    for number in range(3):
        _dicom_slice(tmp_path / "ct" / f"{number}", number, [0, number, 2.0 * number])
    volume = Volume.read(tmp_path / "ct")
    assert "tilt" in volume.warnings[0]
    np.testing.assert_allclose(
        volume.grid.affine @ np.array([0.0, 0, 2]), [0, -2, 4], atol=1e-6
    )


def test_repeated_positions_are_frames(tmp_path) -> None:
    for number in range(6):
        place = [0, 0, 2.0 * (number % 3)]
        _dicom_slice(tmp_path / "ct" / f"{number}", number, place)
    volume = Volume.read(tmp_path / "ct", frame=1)
    assert volume.source.shape == (6, 4, 3, 2)
    np.testing.assert_array_equal(volume.data[0, :, 0, 0] + 1024, [3, 4, 5])
    (tmp_path / "ct" / "5").unlink()
    with pytest.raises(UserError, match="1 to 2 slices at one position"):
        Volume.read(tmp_path / "ct")


@pytest.mark.parametrize(
    ("tags", "word"),
    [
        ({"Rows": 5}, "differ in size"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, "orientation"),
    ],
)
def test_slices_of_no_one_volume_are_refused(folder, tags, word) -> None:
    _dicom_slice(folder / "extra", 7, **tags)
    with pytest.raises(UserError, match=word):
        Volume.read(folder)


def test_single_dicom_without_a_suffix(folder) -> None:
    volume = Volume.read(folder / "b")
    assert volume.shape == (1, 4, 6)
    assert volume.source.format == "dicom"
    assert volume.data.max() == 2 - 1024
    with pytest.raises(UserError, match="is of series"):
        Volume.read(folder / "b", series="5")


def test_rescaled_slices_keep_their_own_slope(tmp_path) -> None:
    for number in (1, 2):
        slope = f"{number}.5"
        _dicom_slice(tmp_path / "pt" / f"{number}", number, RescaleSlope=slope)
    values = Volume.read(tmp_path / "pt").data[0, :, 0, 0]
    np.testing.assert_allclose(values, [1.5 - 1024, 5.0 - 1024])


def test_dicom_spacing_zero_is_refused(tmp_path) -> None:
    path = _dicom_slice(tmp_path / "ct" / "a.dcm", 1, PixelSpacing=[0, 1])
    for place in (path, path.parent):
        with pytest.raises(UserError, match="PixelSpacing"):
            Volume.read(place)


def test_packed_dicom_is_refused(folder) -> None:
    packed = folder / "b.dcm.gz"
    packed.write_bytes(gzip.compress((folder / "b").read_bytes()))
    with pytest.raises(UserError, match="unpack"):
        Volume.read(packed)


# --- pictures --------------------------------------------------------------


def _png(path: Path, mode: str) -> Path:
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "LA": 2}[mode]
    pixels = _voxels((5, 7, channels), np.uint8)
    Image.fromarray(pixels.squeeze(), mode=None).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures(name, mode, tmp_path) -> None:
    path = _png(tmp_path / name, mode)
    volume = Volume.read(path)
    expected = np.asarray(Image.open(path)).reshape(5, 7, -1)
    np.testing.assert_array_equal(volume.data[:, 0], np.moveaxis(expected, -1, 0))
    assert volume.shape == (1, 5, 7)
    facts = describe(path)
    assert facts["shape"] == [7, 5]
    assert facts["affine"] is facts["spacing_mm"] is facts["orientation"] is None
    assert volume.source.is_raster
    assert volume.grid.voxel_ml is None


def test_alpha_is_left_out_and_equal_channels_are_one(tmp_path) -> None:
    assert Volume.read(_png(tmp_path / "a.png", "RGBA")).channels == 3
    assert Volume.read(_png(tmp_path / "b.png", "LA")).channels == 1
    grey = np.repeat(_voxels((5, 7, 1), np.uint8), 3, axis=-1)
    Image.fromarray(grey).save(tmp_path / "c.png")
    assert Volume.read(tmp_path / "c.png").channels == 1


def test_jpeg(tmp_path) -> None:
    Image.fromarray(np.full((8, 9, 3), (200, 10, 10), np.uint8)).save(
        tmp_path / "a.jpg"
    )
    volume = Volume.read(tmp_path / "a.jpg")
    assert volume.source.format == "jpeg"
    assert volume.data[0].mean() > 180 > 40 > volume.data[2].mean()


def test_palette_bilevel_and_16_bit(tmp_path) -> None:
    colours = np.zeros((5, 7, 3), np.uint8)
    colours[:2] = (255, 0, 0)
    Image.fromarray(colours).convert("P").save(tmp_path / "p.png")
    assert Volume.read(tmp_path / "p.png").data[:, 0, 0, 0].tolist() == [255, 0, 0]
    Image.fromarray(colours[..., 0] > 0).save(tmp_path / "1.png")
    assert np.unique(Volume.read(tmp_path / "1.png").data).tolist() == [0, 255]
    deep = (_voxels((5, 7), np.uint16) * 200).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "16.png")
    np.testing.assert_array_equal(Volume.read(tmp_path / "16.png").data[0, 0], deep)
    rgb = (_voxels((5, 7, 3), np.uint16) * 200).astype(np.uint16)
    image = sitk.GetImageFromArray(rgb, isVector=True)
    sitk.WriteImage(image, str(tmp_path / "48.png"))
    data = Volume.read(tmp_path / "48.png").data
    np.testing.assert_array_equal(data[:, 0], np.moveaxis(rgb, -1, 0))


@pytest.mark.parametrize(
    ("shape", "metadata", "expected"),
    [
        ((4, 5, 7), None, (1, 4, 5, 7)),
        ((4, 5, 7), {"axes": "ZYX"}, (1, 4, 5, 7)),
        ((4, 5, 7), {"axes": "TYX"}, (1, 4, 5, 7)),
        ((3, 4, 5, 7), {"axes": "TZYX"}, (1, 4, 5, 7)),
        ((4, 2, 5, 7), {"axes": "ZCYX"}, (2, 4, 5, 7)),
        ((4, 5, 7, 3), {"axes": "ZYXS"}, (3, 4, 5, 7)),
    ],
)
def test_tiff_stacks(shape, metadata, expected, tmp_path) -> None:
    path = tmp_path / "a.tif"
    values = _voxels(shape, np.uint16 if shape[-1] != 3 else np.uint8)
    colour = "rgb" if shape[-1] == 3 else "minisblack"
    tifffile.imwrite(path, values, metadata=metadata, photometric=colour)
    volume = Volume.read(path)
    assert volume.data.shape == expected
    frame = values[0] if metadata and metadata["axes"] == "TZYX" else values
    if expected[0] == 2:
        frame = frame.transpose(1, 0, 2, 3)
    elif expected[0] == 3:
        frame = np.moveaxis(frame, -1, 0)
    np.testing.assert_array_equal(volume.data, frame.reshape(expected))


def test_packed_tiff_pages(tmp_path) -> None:
    pages = [Image.fromarray(_voxels((5, 7), np.uint8) + n) for n in range(3)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    volume = Volume.read(path)
    np.testing.assert_array_equal(volume.data[0, 2], np.asarray(pages[2]))
    tifffile.imwrite(tmp_path / "b.tif", _voxels((5, 7)), metadata=None)
    tifffile.imwrite(tmp_path / "b.tif", _voxels((5, 7)), metadata=None, append=True)
    assert Volume.read(tmp_path / "b.tif").shape == (2, 5, 7)


def test_numbered_slices(tmp_path) -> None:
    for number in (1, 2, 10):
        pixels = np.full((5, 7), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"s{number}.png")
        Image.fromarray(pixels).save(tmp_path / f"s{number}_mask.png")
    volume = Volume.read(tmp_path)
    assert volume.data[0, :, 0, 0].tolist() == [1, 2, 10]
    assert volume.source.format == "slices"
    assert volume.source.shape == (7, 5, 3)
    assert "gaps" in volume.warnings[0]
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(tmp_path / "s3.png")
    with pytest.raises(UserError, match="differ in size"):
        Volume.read(tmp_path)
    (tmp_path / "s3.png").rename(tmp_path / "overview.png")
    with pytest.raises(UserError, match="no slice number"):
        Volume.read(tmp_path)


# --- bad input -------------------------------------------------------------


def _one_line(error: pytest.ExceptionInfo[UserError]) -> None:
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.nii.gz", "none.dcm", "none.png", "none"])
def test_missing_files(name, tmp_path) -> None:
    with pytest.raises(UserError, match="no such file") as error:
        Volume.read(tmp_path / name)
    _one_line(error)


def test_empty_things(tmp_path) -> None:
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(UserError, match="empty"):
        Volume.read(tmp_path / "a.nii.gz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="no DICOM and no pictures"):
        Volume.read(tmp_path / "folder")
    with pytest.raises(UserError, match="no image is given"):
        Volume.read(";")


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "mgz", "nrrd", "mha", "png"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated_files(suffix, part, tmp_path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (40, 41, 42 if suffix != "png" else 1), np.uint8)
    path = tmp_path / f"a.{suffix}"
    if suffix in ("nrrd", "mha"):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    elif suffix == "png":
        Image.fromarray(values[..., 0]).save(path)
    else:
        kind = nib.MGHImage if suffix == "mgz" else nib.Nifti1Image
        _nifti(path, values, kind=kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    for look in (describe, lambda p: check_readable(Volume.read(p))):
        with pytest.raises(UserError, match=f"a.{suffix}") as error:
            look(path)
        _one_line(error)


def test_a_wrong_checksum_is_told(tmp_path) -> None:
    path = _nifti(tmp_path / "a.nii.gz", _voxels((30, 40, 50)))
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 255
    path.write_bytes(bytes(whole))
    assert "checksum" in describe(path)["warnings"][0]


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan])
def test_nifti_spacing_below_zero(step, tmp_path) -> None:
    for number, code in enumerate([0, 2]):
        path = _nifti(tmp_path / f"{number}.nii")
        header = bytearray(path.read_bytes())
        header[84:88] = np.float32(step).tobytes()  # pixdim[2]
        header[254:256] = np.int16(code).tobytes()  # sform_code
        path.write_bytes(bytes(header))
        with pytest.raises(UserError, match="spacing") as error:
            Volume.read(path)
        _one_line(error)


@pytest.mark.parametrize("steps", ["0 1 1", "-1 1 1"])
@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_itk_spacing_below_zero(steps, suffix, tmp_path) -> None:
    image = sitk.GetImageFromArray(_voxels())
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image, str(path))
    text = path.read_bytes()
    if suffix == "mha":
        bad = text.replace(
            b"ElementSpacing = 1 1 1", f"ElementSpacing = {steps}".encode()
        )
    else:
        first = f"({steps.split()[0]},0,0)".encode()
        bad = text.replace(b"space directions: (1,0,0)", b"space directions: " + first)
    assert bad != text
    path.write_bytes(bad)
    if suffix == "nrrd" and steps.startswith("-"):  # a flipped axis, not a spacing
        assert Volume.read(path).grid.affine.orientation == "RPS"
        return
    with pytest.raises(UserError, match="spacing"):
        Volume.read(path)


def test_singular_affine(tmp_path) -> None:
    path = _nifti(tmp_path / "a.nii")
    header = bytearray(path.read_bytes())
    header[280:296] = header[296:312]  # srow_x becomes srow_y
    path.write_bytes(bytes(header))
    with pytest.raises(UserError, match=r"a\.nii: affine is singular"):
        Volume.read(path)


def test_strangers_and_lost_halves(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UserError, match="not an image"):
        Volume.read(tmp_path / "a.txt")
    (tmp_path / "b.nii.gz").write_text("hello")
    with pytest.raises(UserError, match=r"b\.nii\.gz"):
        Volume.read(tmp_path / "b.nii.gz")
    pair = _nifti(tmp_path / "c.hdr", kind=nib.Nifti1Pair)
    pair.with_suffix(".img").unlink()
    with pytest.raises(UserError, match="half"):
        describe(pair)


def test_stems(tmp_path) -> None:
    names = {
        "case.nii.gz": "case", "case.nii": "case", "a.b.nrrd": "a.b", "x.MHA": "x",
        "brain+orig.BRIK.gz": "brain+orig", "scan.dcm": "scan", "6154": "6154",
        "case.v1": "case.v1", "t1.nii.gz;t2.nii.gz": "t1",
    }  # fmt: skip
    assert {name: stem_of(name) for name in names} == names
    (tmp_path / "ct.1").mkdir()
    assert stem_of(tmp_path / "ct.1") == "ct.1"


def test_names_with_spaces_and_semicolons(tmp_path) -> None:
    plain = _nifti(tmp_path / "a.nii.gz")
    for name in ("space in näme.nii.gz", "a;b.nii.gz"):
        shutil.copy(plain, tmp_path / name)
        assert Volume.read(str(tmp_path / name)).channels == 1
