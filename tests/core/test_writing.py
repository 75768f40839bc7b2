"""Files are whole or not there, keep the source's header, and repeat bit by bit."""

from __future__ import annotations

import errno
import os

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from diffseg.errors import UserError
from diffseg.volume import (
    Affine,
    Grid,
    Volume,
    atomic_write,
    read_mask,
    write_float,
    write_mask,
    write_png,
)

AFFINE = np.array([[2.0, 0, 0, -9], [0, 3, 0, 8], [0, 0, 4, 7], [0, 0, 0, 1]])
GRID = Grid((3, 4, 5), Affine(AFFINE))


def _volume(shape=(3, 4, 5), affine=AFFINE) -> Volume:
    return Volume.from_array(np.arange(np.prod(shape)).reshape(shape), affine)


def _mask(shape=(3, 4, 5), classes=2):
    return (np.arange(np.prod(shape)).reshape(shape) % (classes + 1)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_array_s_mask(suffix, tmp_path) -> None:
    volume = _volume()
    path = write_mask(tmp_path / f"m{suffix}", _mask(), volume.grid, volume.source)
    written = nib.load(path)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, _mask())
    np.testing.assert_allclose(written.affine, AFFINE)
    assert written.header["sform_code"] == written.header["qform_code"] == 1
    np.testing.assert_array_equal(read_mask(path, like=volume), _mask())


def test_no_affine_gives_no_millimetres(tmp_path) -> None:
    volume = _volume(affine=None)
    path = write_mask(tmp_path / "m.nii.gz", _mask(), volume.grid, volume.source)
    assert nib.load(path).header.get_xyzt_units()[0] == "unknown"


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair])
def test_only_the_geometry_of_a_header_is_kept(kind, tmp_path) -> None:
    image = kind(np.zeros((5, 4, 3, 2), np.int16), AFFINE)
    image.set_sform(AFFINE, 4)
    image.set_qform(AFFINE, 1)
    header = image.header
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(3, 4)
    header["cal_max"], header["intent_code"], header["descrip"] = 99, 1001, b"theirs"
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"theirs"))
    name = "a.img" if kind is nib.Nifti1Pair else "a.nii"
    nib.save(image, tmp_path / name)
    volume = Volume.read(tmp_path / name, frame=0)
    path = write_mask(tmp_path / "m.nii.gz", _mask(), volume.grid, volume.source)
    written = nib.load(path)
    two = kind is nib.Nifti2Image
    assert isinstance(written, nib.Nifti2Image if two else nib.Nifti1Image)
    for field in ("pixdim", "quatern_b", "qoffset_x", "srow_x", "xyzt_units"):
        expected = image.header[field].tobytes()
        assert written.header[field].tobytes() == expected, field
    assert written.header["sform_code"] == 4
    assert written.header["qform_code"] == 1
    assert written.shape == (5, 4, 3)
    assert written.header["cal_max"] == written.header["intent_code"] == 0
    assert bytes(written.header["descrip"]).startswith(b"diffseg")
    assert not written.header.extensions
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, _mask())


def test_equal_masks_are_equal_bytes(tmp_path) -> None:
    volume = _volume()
    paths = [
        write_mask(tmp_path / name, _mask(), volume.grid, volume.source)
        for name in ("one.nii.gz", "two.nii.gz")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes()[4:8] == bytes(4)  # no time of writing in the gz


def test_wrong_arguments(tmp_path) -> None:
    volume = _volume()
    with pytest.raises(ValueError, match="not on the grid"):
        write_mask(tmp_path / "m.nii", _mask((3, 4, 6)), volume.grid, volume.source)
    with pytest.raises(ValueError, match="integers"):
        write_mask(tmp_path / "m.nii", _mask() + 0.5, volume.grid, volume.source)
    with pytest.raises(ValueError, match="not on the grid"):
        write_float(tmp_path / "m.nii", np.zeros((4, 5)), volume.grid, volume.source)
    with pytest.raises(UserError, match="ends in"):
        write_mask(tmp_path / "m.xyz", _mask(), volume.grid, volume.source)
    assert list(tmp_path.iterdir()) == []


# --- atomic ----------------------------------------------------------------


def test_the_folder_is_made(tmp_path) -> None:
    atomic_write(tmp_path / "new" / "deep" / "a.txt", lambda p: p.write_text("x"))
    assert (tmp_path / "new" / "deep" / "a.txt").read_text() == "x"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device")])
def test_a_full_disk_leaves_what_was_there(error, tmp_path) -> None:
    target = tmp_path / "a.nii.gz"
    target.write_text("before")

    def fill(aside) -> None:
        assert aside.name.endswith(".nii.gz")
        assert aside.parent == tmp_path
        aside.write_text("half")
        raise error

    with pytest.raises(UserError, match="No space left") as caught:
        atomic_write(target, fill)
    assert str(tmp_path) in str(caught.value)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_any_error_leaves_nothing(tmp_path) -> None:
    def fail(aside) -> None:
        aside.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "a", fail)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    volume = _volume()
    with pytest.raises(UserError, match="choose a folder that is writable"):
        write_mask(tmp_path / "file" / "m.nii", _mask(), volume.grid, volume.source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path) -> None:
    tmp_path.chmod(0o500)
    volume = _volume()
    with pytest.raises(UserError, match="Permission denied"):
        write_mask(tmp_path / "m.nii", _mask(), volume.grid, volume.source)
    tmp_path.chmod(0o700)


# --- pictures --------------------------------------------------------------


def test_png_masks_and_maps(tmp_path) -> None:
    volume = _volume((4, 5), None)
    one, two = _mask((1, 4, 5), 1), _mask((1, 4, 5), 2)
    path = tmp_path / "one.png"
    write_mask(path, one * 3, volume.grid, volume.source, one_class=True)
    assert np.unique(np.asarray(Image.open(path))).tolist() == [0, 255]
    np.testing.assert_array_equal(read_mask(path, like=volume), one)
    np.testing.assert_array_equal(read_mask(path, classes=(3,)), one * 3)
    path = write_mask(tmp_path / "1of2.png", one, volume.grid, volume.source)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), one[0])
    path = write_mask(tmp_path / "two.png", two, volume.grid, volume.source)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), two[0])
    np.testing.assert_array_equal(read_mask(path, classes=(1, 2)), two)
    values = np.linspace(-0.1, 1.1, 20).reshape(4, 5).astype(np.float32)
    stored = np.asarray(Image.open(write_png(tmp_path / "p.png", values)))
    assert stored.dtype == np.uint16
    assert (stored.min(), stored.max()) == (0, 65535)
    np.testing.assert_allclose(stored / 65535, values.clip(0, 1), atol=1e-5)


def test_several_planes_are_no_picture(tmp_path) -> None:
    with pytest.raises(ValueError, match="not one plane"):
        write_png(tmp_path / "a.png", np.zeros((2, 4, 5), np.uint8))


def test_an_empty_mask_stays_empty(tmp_path) -> None:
    volume = _volume((4, 5), None)
    empty = np.zeros((1, 4, 5), np.uint8)
    path = write_mask(tmp_path / "m.png", empty, volume.grid, volume.source)
    assert not read_mask(path, classes=(2,)).any()


# --- masks -----------------------------------------------------------------


def _save(path, values, affine=AFFINE):
    nib.save(nib.Nifti1Image(values.T, affine), path)
    return path


def test_masks_on_another_grid_are_refused(tmp_path) -> None:
    path = _save(tmp_path / "m.nii.gz", _mask())
    np.testing.assert_array_equal(read_mask(path, like=_volume()), _mask())
    shifted = AFFINE + np.eye(4, k=3)
    with pytest.raises(UserError, match="different grids"):
        read_mask(path, like=_volume(affine=shifted))
    with pytest.raises(UserError, match="different grids"):
        read_mask(path, like=_volume((3, 4, 6)))


def test_float_masks_of_whole_numbers(tmp_path) -> None:
    path = _save(tmp_path / "m.nii.gz", _mask().astype(np.float64))
    assert read_mask(path).dtype == np.uint8
    np.testing.assert_array_equal(read_mask(path), _mask())


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0, np.nan])
def test_values_that_are_no_labels(value, tmp_path) -> None:
    values = _mask().astype(np.float32)
    values[0, 0, 0] = value
    with pytest.raises(UserError, match="whole numbers"):
        read_mask(_save(tmp_path / "m.nii.gz", values))


def test_unknown_labels(tmp_path) -> None:
    path = _save(tmp_path / "m.nii.gz", _mask())
    with pytest.raises(UserError, match=r"\[2\] are not labels; known: 1, 3"):
        read_mask(path, classes=(1, 3))


def test_masks_of_several_channels(tmp_path) -> None:
    path = tmp_path / "m.png"
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(path)
    with pytest.raises(UserError, match="3 channels"):
        read_mask(path)
