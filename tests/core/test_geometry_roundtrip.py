"""A mask lies where the image's own voxels lie, whatever its orientation."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from diffseg.volume import Volume, describe, write_float, write_mask

Matrix = NDArray[np.float64]
SHAPE = (7, 9, 5)
BOX = (slice(1, 3), slice(2, 6), slice(3, 5))
FORM_FIELDS = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
CODES = [(2, 0), (0, 1), (1, 4), (4, 1)]


def _signed_permutations(size: int) -> list[Matrix]:
    return [
        np.eye(size)[list(order)] * np.array(signs)
        for order in permutations(range(size))
        for signs in product([1.0, -1.0], repeat=size)
    ]


def _affine(turn: Matrix, kind: str) -> Matrix:
    """Axis-aligned isotropic, axis-aligned anisotropic, or oblique anisotropic."""
    spacing = (1.0, 1.0, 1.0) if kind == "axis-aligned" else (0.7, 1.3, 4.1)
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(spacing)
    if kind == "oblique":
        tilt = Rotation.from_euler("xyz", (17.0, -11.0, 23.0), degrees=True)
        matrix[:3, :3] = tilt.as_matrix() @ matrix[:3, :3]
    matrix[:3, 3] = (-31.5, 12.25, 77.0)
    return matrix


def _image(matrix: Matrix, shape: tuple[int, ...], codes: tuple[int, int]):
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=shape).astype(np.float32)
    voxels[BOX[: min(len(shape), 3)]] += 100
    image = nib.Nifti1Image(voxels, None)
    sform, qform = codes
    if sform:
        image.set_sform(matrix, code=sform)
    if qform:
        image.set_qform(matrix, code=qform)
    image.header.set_xyzt_units("mm", "sec")
    return image


def _centroid(path: Path, threshold: float, frame: int = 0) -> Matrix:
    image = nib.load(path)
    voxels = image.get_fdata()
    voxels = voxels[..., frame] if voxels.ndim == 4 else voxels
    index = np.argwhere(voxels > threshold)
    index = np.pad(index, ((0, 0), (0, 3 - index.shape[1])))
    return nib.affines.apply_affine(image.affine, index).mean(axis=0)


def _check(source: Path, mask: Path, frame: int = 0) -> None:
    """The mask's bright voxels, header fields and ITK points are the source's."""
    moved = _centroid(mask, 0.5) - _centroid(source, 50.0, frame)
    assert np.abs(moved).max() < 1e-3
    one, two = nib.load(source), nib.load(mask)
    np.testing.assert_array_equal(one.affine, two.affine)
    assert two.shape == one.shape[:3]
    assert two.get_data_dtype() == np.uint8
    for field in FORM_FIELDS:
        assert one.header[field].tobytes() == two.header[field].tobytes(), field
    assert np.asarray(two.dataobj).max() == 1
    _check_by_itk(source, mask)


def _check_by_itk(source: Path, mask: Path) -> None:
    one, two = sitk.ReadImage(str(source)), sitk.ReadImage(str(mask))
    dims = two.GetDimension()
    for index in np.ndindex(*(2,) * dims):
        there = one.TransformIndexToPhysicalPoint(
            (*map(int, index), *(0,) * (one.GetDimension() - dims))
        )
        here = two.TransformIndexToPhysicalPoint(tuple(map(int, index)))
        np.testing.assert_allclose(here, there[:dims], atol=1e-4)


@pytest.mark.parametrize("kind", ["axis-aligned", "anisotropic", "oblique"])
@pytest.mark.parametrize("content", ["3D", "4D", "multi-channel"])
def test_48_orientations(kind, content, tmp_path) -> None:
    turns = _signed_permutations(3)
    assert len(turns) == 48
    seen = set()
    for number, turn in enumerate(turns):
        codes = CODES[number % len(CODES)]
        shape = (*SHAPE, 3) if content == "4D" else SHAPE
        image = _image(_affine(turn, kind), shape, codes)
        source = tmp_path / f"{number}.nii"
        nib.save(image, source)
        paths, frame = [source], None
        if content == "multi-channel":
            paths.append(tmp_path / f"{number}_b.nii")
            nib.save(image, paths[1])
        if content == "4D":
            frame = 2
        volume = Volume.read(paths, frame=frame)
        assert volume.channels == len(paths)
        assert volume.shape == SHAPE[::-1]
        seen.add(volume.grid.affine.orientation)
        mask = (volume.data[0] > 50).astype(np.uint8)
        inside = volume.grid.affine @ np.argwhere(mask)[:, ::-1].astype(float)
        moved = inside.mean(axis=0) - _centroid(source, 50.0, frame or 0)
        assert np.abs(moved).max() < 1e-3
        target = tmp_path / f"{number}_mask.nii.gz"
        write_mask(target, mask, volume.grid, volume.source)
        _check(source, target, frame or 0)
    assert len(seen) == 48


@pytest.mark.parametrize("kind", ["axis-aligned", "anisotropic", "oblique"])
def test_8_orientations_of_2d(kind, tmp_path) -> None:
    turns = _signed_permutations(2)
    assert len(turns) == 8
    for number, turn in enumerate(turns):
        full = np.eye(3)
        full[:2, :2] = turn
        if np.linalg.det(full) < 0:  # a qform cannot mirror a plane without k
            full[2, 2] = -1
        matrix = _affine(full, "anisotropic" if kind == "anisotropic" else kind)
        source = tmp_path / f"{number}.nii.gz"
        nib.save(_image(matrix, SHAPE[:2], CODES[number % len(CODES)]), source)
        volume = Volume.read(source)
        assert volume.shape == (1, *SHAPE[1::-1])
        mask = (volume.data[0] > 50).astype(np.uint8)
        target = tmp_path / f"{number}_mask.nii.gz"
        write_mask(target, mask, volume.grid, volume.source)
        _check(source, target)


def test_sheared_sform_is_kept_where_itk_refuses_it(tmp_path) -> None:
    matrix = _affine(np.eye(3), "oblique")
    matrix[:3, 0] += 0.3 * matrix[:3, 1]
    source, target = tmp_path / "a.nii", tmp_path / "a_mask.nii"
    nib.save(_image(matrix, SHAPE, (2, 0)), source)
    with pytest.raises(RuntimeError):
        sitk.ReadImage(str(source))
    volume = Volume.read(source)
    write_mask(target, volume.data[0] > 50, volume.grid, volume.source)
    one, two = nib.load(source), nib.load(target)
    np.testing.assert_array_equal(one.affine, two.affine)
    assert np.abs(_centroid(target, 0.5) - _centroid(source, 50)).max() < 1e-3


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("components", [1, 3])
def test_itk_sources_give_a_nifti_at_the_same_place(
    suffix, components, tmp_path
) -> None:
    for number, turn in enumerate(_signed_permutations(3)[::5]):
        if np.linalg.det(turn) < 0:
            turn = turn * np.array([1.0, 1.0, -1.0])
        tilt = Rotation.from_euler("xyz", (9.0, 14.0, -21.0), degrees=True).as_matrix()
        voxels = np.zeros((*SHAPE[::-1], components), np.int16)
        voxels[BOX[::-1]] = 100
        image = sitk.GetImageFromArray(voxels, isVector=components > 1)
        if components == 1:
            image = sitk.GetImageFromArray(voxels[..., 0])
        image.SetSpacing((0.6, 1.2, 3.3))
        image.SetOrigin((5.0, -7.0, 11.0))
        image.SetDirection((tilt @ turn).ravel())
        source = tmp_path / f"{number}{suffix}"
        sitk.WriteImage(image, str(source))

        volume = Volume.read(source)
        assert volume.channels == components
        target = tmp_path / f"{number}_mask.nii.gz"
        mask = (volume.data[0] > 50).astype(np.uint8)
        write_mask(target, mask, volume.grid, volume.source)
        _check_by_itk(source, target)
        written = nib.load(target)
        assert written.header["sform_code"] == written.header["qform_code"] == 1
        assert written.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(
            written.affine, describe(source)["affine"], atol=1e-4
        )
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(sitk.ReadImage(str(target))), mask
        )


def test_maps_of_several_classes_have_them_last(tmp_path) -> None:
    source, target = tmp_path / "a.nii.gz", tmp_path / "p.nii.gz"
    image = _image(_affine(np.eye(3), "oblique"), (*SHAPE, 3), (4, 1))
    image.header.set_data_dtype(np.int16)
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, source)
    volume = Volume.read(source, frame=1)
    rng = np.random.default_rng(1)
    maps = rng.random((2, *volume.shape)).astype(np.float32)
    write_float(target, maps, volume.grid, volume.source)
    written = nib.load(target)
    assert written.shape == (*SHAPE, 2)
    assert written.get_data_dtype() == np.float32
    assert np.isnan(written.header["scl_slope"])
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), maps.T)
    np.testing.assert_array_equal(written.affine, nib.load(source).affine)


def test_a_cropped_grid_is_written_where_it_lies(tmp_path) -> None:
    source, target = tmp_path / "a.nii.gz", tmp_path / "crop.nii.gz"
    nib.save(_image(_affine(np.eye(3), "oblique"), SHAPE, (4, 1)), source)
    volume = Volume.read(source)
    part = volume.grid.cropped(((1, 4), (2, 6), (0, 7)))
    write_mask(target, np.ones(part.shape, np.uint8), part, volume.source)
    written = nib.load(target)
    np.testing.assert_allclose(written.affine, part.affine.matrix, atol=1e-5)
    assert written.header["sform_code"] == 4
