"""Layers from files and back: what a reader shows, and where a writer puts voxels."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from diffseg.errors import UserError
from napari_diffseg.plugin import samples
from napari_diffseg.plugin.readers import get_reader, read_layers
from napari_diffseg.plugin.writers import write_image, write_labels

SHAPE = (7, 9, 5)  # (i, j, k)
ZOOMS = (0.7, 0.9, 3.0)
CODES = [
    "".join(code)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for code in itertools.product(*axes)
]


def affine_of(code: str, degrees: float = 0.0) -> np.ndarray:
    """From (i, j, k) in orientation `code` to RAS+ mm, turned about the z axis."""
    tools = nib.orientations
    to_ras = tools.ornt_transform(
        tools.axcodes2ornt(tuple(code)), tools.axcodes2ornt(("R", "A", "S"))
    )
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for axis, (goes_to, sign) in enumerate(to_ras):
        matrix[int(goes_to), axis] = sign * ZOOMS[axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = (-30, -40, 100)
    return matrix


def blob() -> np.ndarray:
    """A lopsided structure in an (i, j, k) array."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 2:6, 3] = 1
    mask[5, 7, 4] = 2
    return mask


def image_at(path: Path, affine: np.ndarray) -> Path:
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def one_layer(path: Path) -> tuple:
    reader = get_reader(str(path))
    assert reader is not None
    (layer,) = reader(str(path))
    return layer


def centroid(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Centre of a structure in RAS+ mm."""
    return nib.affines.apply_affine(affine, np.argwhere(voxels == 1).mean(0))


def itk_centroid(path: Path) -> np.ndarray:
    """Centre of the same structure as SimpleITK sees it, in RAS+ mm."""
    image = sitk.ReadImage(str(path))
    zyx = np.argwhere(sitk.GetArrayFromImage(image) == 1).mean(0)
    place = image.TransformContinuousIndexToPhysicalPoint(zyx[::-1].tolist())
    return np.array(place) * (-1, -1, 1)


@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize("code", CODES)
def test_a_mask_comes_back_on_the_grid_of_its_image(
    tmp_path: Path, code: str, degrees: float
) -> None:
    """In every orientation, straight and oblique: 0.000 mm by both toolkits."""
    affine = affine_of(code, degrees)
    image = image_at(tmp_path / "case.nii.gz", affine)
    data, keywords, kind = one_layer(image)
    assert kind == "image"
    drawn = np.zeros(data.shape, np.uint8)
    for label in (1, 2):  # drawn where the image shows the voxels of the blob
        stored = np.asarray(nib.load(image).dataobj)
        inside = np.isin(data, stored[blob() == label])
        drawn[inside] = label
    path = tmp_path / "out_mask.nii.gz"
    assert write_labels(str(path), drawn, keywords) == [str(path)]

    back = nib.load(path)
    np.testing.assert_array_equal(np.asarray(back.dataobj), blob())
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)
    assert back.header.get_xyzt_units()[0] == "mm"
    true = centroid(blob(), affine)
    np.testing.assert_allclose(centroid(np.asarray(back.dataobj), back.affine), true,
                               atol=5e-4)  # fmt: skip
    np.testing.assert_allclose(itk_centroid(path), true, atol=5e-4)

    mask, again, kind = one_layer(path)
    assert kind == "labels"
    np.testing.assert_array_equal(mask, drawn)
    assert again["scale"] == pytest.approx(keywords["scale"])
    assert again["translate"] == pytest.approx(keywords["translate"], abs=1e-4)


@pytest.mark.parametrize("code", ["RAS", "LPS", "ASR"])
def test_what_a_reader_shows_is_radiological(tmp_path: Path, code: str) -> None:
    affine = affine_of(code)
    data, keywords, _ = one_layer(image_at(tmp_path / "case.nii", affine))
    assert keywords["name"] == "case"
    assert keywords["units"] == ("mm",) * 3
    assert min(keywords["scale"]) > 0
    # Each shown voxel lies where scale and translate say: feet, back and left.
    stored = np.asarray(nib.load(tmp_path / "case.nii").dataobj)
    for value in (0, 41, 314):
        (shown,) = np.argwhere(data == value)
        (native,) = np.argwhere(stored == value)
        x, y, z = nib.affines.apply_affine(affine, native)
        world = np.array(keywords["scale"]) * shown + keywords["translate"]
        np.testing.assert_allclose(world, (-z, -y, -x), atol=1e-4)
    assert keywords["metadata"]["diffseg"]["source"] == str(tmp_path / "case.nii")


@pytest.mark.parametrize("ending", ["mha", "nrrd", "nii"])
def test_formats_agree(tmp_path: Path, ending: str) -> None:
    image = image_at(tmp_path / "case.nii.gz", affine_of("LPS", 10))
    other = tmp_path / f"other.{ending}"
    sitk.WriteImage(sitk.ReadImage(str(image)), str(other))
    data, keywords, _ = one_layer(image)
    same, again, _ = one_layer(other)
    np.testing.assert_array_equal(data, same)
    np.testing.assert_allclose(keywords["translate"], again["translate"], atol=1e-4)
    mask = tmp_path / "m.nii.gz"
    write_labels(str(mask), (np.asarray(same) > 200).astype(np.int32), again)
    saved = sitk.ReadImage(str(mask))
    reference = sitk.ReadImage(str(other))
    assert saved.GetOrigin() == pytest.approx(reference.GetOrigin(), abs=1e-4)
    assert saved.GetDirection() == pytest.approx(reference.GetDirection(), abs=1e-6)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(saved), sitk.GetArrayFromImage(reference) > 200
    )


def test_a_map_is_written_as_floats(tmp_path: Path) -> None:
    data, keywords, _ = one_layer(image_at(tmp_path / "case.nii", affine_of("LAS")))
    path = tmp_path / "map.nii.gz"
    write_image(str(path), np.asarray(data) / 7, keywords)
    back = nib.load(path)
    assert back.get_data_dtype() == np.float32
    stored = np.asarray(nib.load(tmp_path / "case.nii").dataobj)
    np.testing.assert_allclose(back.get_fdata(), stored / 7, rtol=1e-6)


def test_a_picture_and_its_mask(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(grey).save(tmp_path / "skin.png")
    data, keywords, kind = one_layer(tmp_path / "skin.png")
    assert kind == "image"
    np.testing.assert_array_equal(np.squeeze(data), grey)
    assert keywords["units"] == ("pixel",) * 3
    path = tmp_path / "skin_mask.png"
    write_labels(str(path), (np.asarray(data) > 40).astype(np.uint8), keywords)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), (grey > 40) * 255)
    mask, _, kind = one_layer(path)
    assert kind == "labels"
    np.testing.assert_array_equal(np.squeeze(mask), grey > 40)


def test_a_colour_picture_stays_in_colour(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "skin.png")
    data, keywords, _ = one_layer(tmp_path / "skin.png")
    assert keywords["rgb"] is True
    np.testing.assert_array_equal(np.squeeze(data), colours)
    with pytest.raises(UserError, match="colour picture"):
        write_image(str(tmp_path / "x.nii"), data, keywords)


def test_numbered_slices_are_a_volume(tmp_path: Path) -> None:
    folder = tmp_path / "patient"
    folder.mkdir()
    for number in range(3):
        plane = np.full((4, 5), number, np.uint8)
        Image.fromarray(plane).save(folder / f"s_{number}.png")
        Image.fromarray(plane).save(folder / f"s_{number}_mask.png")
    data, keywords, kind = one_layer(folder)
    assert (data.shape, kind) == ((3, 4, 5), "image")
    assert keywords["name"] == "patient"


def test_channels_are_layers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image_at(tmp_path / f"{name}.nii", affine_of("RAS"))
    joined = f"{tmp_path / 'a.nii'};{tmp_path / 'b.nii'}"
    layers = read_layers(joined)
    assert [keywords["name"] for _, keywords, _ in layers] == ["a", "a [channel 2]"]


def test_what_is_not_ours_is_left_to_others(tmp_path: Path) -> None:
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path / "a.png"), str(tmp_path / "b.png")]) is None


def test_several_series_are_a_question_for_the_panel(data_dir: Path) -> None:
    folder = data_dir / "dicom"
    with pytest.raises(UserError, match=r"holds 2 DICOM series; open it in the panel"):
        read_layers(str(folder))


def test_a_dicom_folder(data_dir: Path) -> None:
    folder = data_dir / "dicom" / "mr_t1post_oblique"
    data, keywords, kind = one_layer(folder)
    assert (kind, data.ndim, len(data.shape)) == ("image", 3, 3)
    assert keywords["metadata"]["diffseg"]["series"]


def test_a_layer_without_a_place_is_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    with pytest.raises(UserError, match=r"layer L: .*Export there.*spacing"):
        write_labels(str(path), np.zeros((2, 3, 4), int), {"name": "L", "metadata": {}})
    assert not path.exists()


def test_a_layer_that_was_cut_is_refused(tmp_path: Path) -> None:
    data, keywords, _ = one_layer(image_at(tmp_path / "case.nii", affine_of("RAS")))
    with pytest.raises(UserError, match="do not fit its image"):
        write_labels(str(tmp_path / "x.nii"), (data > 1)[1:], keywords)


@pytest.mark.parametrize(("value", "ending"), [(300, "nii.gz"), (-1, "nii")])
def test_values_that_are_no_labels(tmp_path: Path, value: int, ending: str) -> None:
    data, keywords, _ = one_layer(image_at(tmp_path / "case.nii", affine_of("RAS")))
    path = tmp_path / f"x.{ending}"
    with pytest.raises(UserError, match="labels from 0 to 255"):
        write_labels(str(path), np.full(data.shape, value), keywords)
    assert not path.exists()


def test_a_volume_is_no_png(tmp_path: Path) -> None:
    data, keywords, _ = one_layer(image_at(tmp_path / "case.nii", affine_of("RAS")))
    with pytest.raises(UserError, match=r"one plane.*\.nii\.gz"):
        write_labels(str(tmp_path / "x.png"), (data > 1), keywords)


@pytest.mark.parametrize("change", ["gone", "another"])
def test_the_place_is_kept_when_the_image_is_not(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    affine = affine_of("LPI", 12)
    data, keywords, _ = one_layer(image_at(tmp_path / "case.nii", affine))
    drawn = (np.asarray(data) > 100).astype(np.uint8)
    stored = np.asarray(nib.load(tmp_path / "case.nii").dataobj) > 100
    os.remove(tmp_path / "case.nii")
    if change == "another":
        image_at(tmp_path / "case.nii", affine_of("RAS"))
    write_labels(str(tmp_path / "x.nii"), drawn, keywords)
    back = nib.load(tmp_path / "x.nii")
    np.testing.assert_array_equal(np.asarray(back.dataobj), stored)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)
    assert len(said) == 1
    assert "plain header on the same grid" in said[0]


def test_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nilearn", reason="nilearn holds the template")
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    ((piece, keywords, kind),) = samples.hippocampus()
    assert (piece.shape, kind) == ((40, 51, 36), "image")
    # The left hippocampus, at (-27, -22, -16) mm, lies well inside.
    place = (np.array((16, 22, 27)) - keywords["translate"]) / keywords["scale"]
    assert (place > 10).all()
    assert (place < np.array(piece.shape) - 10).all()
    ((whole, around, _),) = samples.brain()
    assert whole.shape == (189, 233, 197)
    assert around["name"] == "mni152_t1"
    start = (np.array(keywords["translate"]) - around["translate"]).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, piece.shape, strict=True))
    np.testing.assert_array_equal(whole[box], piece)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "mni152_left_hippocampus_t1.nii.gz",
        "mni152_t1.nii.gz",
    ]
