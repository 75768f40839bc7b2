"""Odd, broken and rare files: read as the toolkits read them, or refused.

The reference is computed here, file by file, by nibabel (its rule for the
affine), by pydicom (pixels with the modality's lookup) and by SimpleITK. Where
two toolkits disagree, these choices hold:

- NIfTI and its kin: nibabel, also where ITK takes the other of sform and qform.
  A vector image in five dimensions (extent 1 in the fourth) is ITK's three
  dimensions with channels.
- DICOM pixels: pydicom. ITK's GDCM mixes up RLE colour of 16 and 32 bits,
  widens one-bit segmentations to 0/255 and inverts MONOCHROME1.
- DICOM geometry, palettes, and what pydicom cannot decode: ITK.
- A NIfTI whose magic word is broken: ITK, with a warning.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.pixels.processing import apply_modality_lut

from diffseg.errors import UserError
from diffseg.volume import Volume, check_readable, describe, facts

READ, REFUSED = 102, 17
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass
class Reference:
    """What a toolkit says: file shape, RAS affine, frames of (C, Z, Y, X) values."""

    shape: tuple[int, ...]
    affine: Any
    frames: list[Any]


def _by_nibabel(path: Path) -> Reference | None:
    try:
        image = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except Exception:
        return None
    if values.ndim not in (2, 3, 4) or values.dtype.kind not in "iuf":
        return None
    if values.ndim == 4 and path.suffix == ".mnc":  # MINC puts time first
        frames = list(values)
    elif values.ndim == 4:
        frames = list(np.moveaxis(values, -1, 0))
    else:
        frames = [values.reshape((*values.shape, 1)[:3])]
    return Reference(values.shape, image.affine, [f.T[np.newaxis] for f in frames])


def _by_itk(path: Path) -> Reference | None:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        return None
    dims = image.GetDimension()
    values = sitk.GetArrayFromImage(image)
    values = np.moveaxis(values, -1, 0) if values.ndim > dims else values[np.newaxis]
    if dims == 2:
        values = values[:, np.newaxis]
    frames = list(np.moveaxis(values, 1, 0)) if dims == 4 else [values]
    space = min(dims, 3)
    matrix = np.eye(4)
    direction = np.reshape(image.GetDirection(), (dims, dims))[:space, :space]
    matrix[:space, :space] = direction @ np.diag(image.GetSpacing()[:space])
    matrix[:space, 3] = image.GetOrigin()[:space]
    return Reference(image.GetSize(), LPS @ matrix, frames)


def _by_pydicom(path: Path) -> Any:
    try:
        header = pydicom.dcmread(path)
        if header.PhotometricInterpretation == "PALETTE COLOR":
            return None
        values = apply_modality_lut(header.pixel_array, header)
    except Exception:
        return None
    if header.SamplesPerPixel > 1:
        return np.moveaxis(values.reshape((-1, *values.shape[-3:])), -1, 0)
    return values.reshape((1, -1, *values.shape[-2:]))


def _reference(path: Path) -> Reference | None:
    found = _by_nibabel(path)
    if found is not None:
        return found
    found, pixels = _by_itk(path), _by_pydicom(path)
    if found is not None and pixels is not None:
        found.frames = [pixels]
    assert found is not None or pixels is None, "pydicom alone reads it"
    return found


def _compare(path: Path, expected: Reference) -> None:
    for frame in {0, len(expected.frames) - 1}:
        volume = check_readable(Volume.read(path, frame=frame), keep=True)
        described = facts(volume)
        shape = tuple(described["shape"])
        if len(shape) == 5:
            assert shape[3] == 1
            shape = shape[:3]
        assert shape == tuple(expected.shape)
        np.testing.assert_allclose(described["affine"], expected.affine, atol=1e-4)
        np.testing.assert_allclose(
            volume.data, expected.frames[frame], rtol=1e-6, atol=1e-6
        )
        np.testing.assert_array_equal(volume.grid.affine.matrix, described["affine"])


@pytest.fixture
def quiet_toolkits():
    """The toolkits complain, as they should, about the files in this folder."""
    logging.disable(logging.CRITICAL)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("quiet_toolkits")
def test_read_as_the_toolkits_do_or_refused(data_dir) -> None:
    paths = [path for path in (data_dir / "odd_files").rglob("*") if path.is_file()]
    wrong: list[str] = []
    read = refused = 0
    for path in sorted(paths):
        expected = _reference(path)
        try:
            if expected is None:
                with pytest.raises(UserError) as error:
                    describe(path)
                assert "\n" not in str(error.value)
                assert str(path) in str(error.value)
                refused += 1
            else:
                _compare(path, expected)
                read += 1
        except (Exception, pytest.fail.Exception) as err:
            wrong.append(f"{path.name}: {err!r}")
    assert not wrong, "\n".join(wrong)
    assert (read, refused) == (READ, REFUSED)


@pytest.mark.parametrize("series", ["ct_head", "mr_t1post_oblique"])
def test_dicom_folders_as_itk_reads_them(data_dir, series) -> None:
    folder = str(data_dir / "dicom" / series)
    (uid,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)
    image = sitk.ReadImage(names)
    matrix = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    matrix[:3, :3] = direction @ np.diag(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()

    described = describe(folder)
    volume = Volume.read(folder, series=uid)
    assert described["shape"] == list(image.GetSize())
    assert described["source_format"] == "dicom"
    assert described["units"] == "mm"
    np.testing.assert_allclose(described["affine"], LPS @ matrix, atol=1e-4)
    np.testing.assert_array_equal(volume.data[0], sitk.GetArrayFromImage(image))


def test_a_folder_of_several_series_asks_which(data_dir) -> None:
    folder = data_dir / "odd_files" / "pydicom" / "dicomdirtests" / "98892003"
    with pytest.raises(UserError, match=r"5 series, choose one with --series: 1\.3\.6"):
        Volume.read(folder)


def test_real_slices_are_a_volume(data_dir) -> None:
    folder = sorted(p for p in (data_dir / "lgg").iterdir() if p.is_dir())[0]
    count = len([p for p in folder.glob("*.png") if "_mask" not in p.name])
    volume = Volume.read(folder)
    assert volume.shape == (count, 256, 256)
    assert describe(folder)["spacing_mm"] is None
