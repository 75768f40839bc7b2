from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from diffseg.domain import (
    Label,
    LabelTable,
    Localisation,
    ModelCard,
    Preparation,
    Request,
    TemplateBox,
)
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.segmenters.localisation import Found, corners, iter_locate, locate
from diffseg.segmenters.regions import places
from diffseg.segmenters.template import mni152, mni152_path
from diffseg.volume import Affine, Volume

LEFT = TemplateBox(name="left", low_mm=(-44, -47, -33), high_mm=(-10, 3, 1))
RIGHT = TemplateBox(name="right", low_mm=(10, -47, -33), high_mm=(44, 3, 1))
BOTH = Localisation(boxes=(LEFT, RIGHT), largest_mm=(60, 80, 60))


def _moved(degrees: float, scale: float, shift: tuple[float, float, float]) -> Affine:
    """A head turned about two axes, of another size, elsewhere in the scanner."""
    a, b = np.radians(degrees), np.radians(degrees / 2)
    nod = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * nod @ turn
    matrix[:3, 3] = shift
    return Affine(matrix)


def _with_scalp_and_neck(brain: np.ndarray) -> np.ndarray:
    """Skull and scalp around the template's brain, and a neck below it."""
    distance = ndimage.distance_transform_edt(~ndimage.binary_closing(brain > 5))
    head = brain.copy()
    head[(distance > 0) & (distance <= 3)] = 30
    head[(distance > 3) & (distance <= 8)] = 8
    head[(distance > 8) & (distance <= 16)] = 220
    head = np.pad(head, ((70, 10), (16, 16), (16, 16)))
    _, y, x = np.ogrid[: head.shape[0], : head.shape[1], : head.shape[2]]
    neck = (x - head.shape[2] / 2) ** 2 + (y - 95) ** 2 < 60**2
    head[:110][np.broadcast_to(neck, head.shape)[:110] & (head[:110] == 0)] = 150
    return head


def _centre(found: Found, index: int, volume: Volume) -> np.ndarray:
    ranges = found.boxes[index][1].ranges[::-1]
    ijk = np.array([[(start + stop - 1) / 2 for start, stop in ranges]])
    return (volume.grid.affine @ ijk)[0]


def test_the_template_is_found_in_itself_to_the_voxel() -> None:
    volume = Volume.read(mni152_path())
    found = locate(volume, BOTH)
    assert [name for name, _ in found.boxes] == ["left", "right"]
    # Voxel (0, 0, 0) lies at (-98, -134, -72) mm.
    assert found.boxes[0][1].ranges == ((39, 74), (87, 138), (54, 89))
    assert found.boxes[1][1].ranges == ((39, 74), (87, 138), (108, 143))
    assert found.similarity > 0.99
    assert found.seconds > 0
    assert found.warnings == ()


def test_looking_gives_signs_of_life_and_may_be_broken_off() -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    work = iter_locate(Volume.read(mni152_path()), BOTH)
    for _ in range(8):
        assert next(work).stage == "prepare"
        # The threads of others are taken from them only while it computes.
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before
    work.close()
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(20, 0.9, (30, -20, 40)), (-25, 1.1, (0, 60, 0))]
)
def test_a_turned_head_with_scalp_and_neck_is_found(
    degrees: float, scale: float, shift: tuple[float, float, float]
) -> None:
    template = mni152()
    move = _moved(degrees, scale, shift)
    padded = np.eye(4)
    padded[:3, 3] = (-16, -16, -70)
    affine = move @ template.affine @ Affine(padded)
    volume = Volume.from_array(_with_scalp_and_neck(template.image), affine)
    found = locate(volume, BOTH)
    assert found.similarity > 0.9
    for index, box in enumerate(BOTH.boxes):
        truth = (move @ corners(box)).mean(axis=0)
        assert np.linalg.norm(_centre(found, index, volume) - truth) < 1.5


@pytest.mark.slow
def test_a_real_head_is_found_however_it_is_stored(data_dir: Path) -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    volume = Volume.read(data_dir / "ms_lesion" / "patient07_t1.nii.gz")
    found = locate(volume, BOTH)
    assert found.similarity > 0.65
    # Left is at smaller x, and both lie mirrored about the middle of the head.
    left, right = (_centre(found, index, volume) for index in (0, 1))
    assert left[0] < 0 < right[0]
    assert np.abs(left[1:] - right[1:]).max() < 3
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before
    grid, turn = volume.grid.reoriented("SLA")
    other = Volume.from_array(turn.apply(volume.data), grid.affine)
    again = locate(other, BOTH)
    assert again.similarity == found.similarity
    for index in (0, 1):
        inside = np.zeros(volume.shape, dtype=bool)
        inside[found.boxes[index][1].slices] = True
        there = np.zeros(other.shape, dtype=bool)
        there[again.boxes[index][1].slices] = True
        assert np.array_equal(turn.undo(there), inside)


@pytest.mark.slow
@pytest.mark.parametrize("image", ["ms_lesion/patient07_flair.nii.gz", "dicom/ct_head"])
def test_what_is_not_like_the_template_is_refused(data_dir: Path, image: str) -> None:
    volume = Volume.read(data_dir / image)
    with pytest.raises(
        UserError, match=r"no brain found.*similarity.*< 0\.5.*give the reg"
    ) as no:
        locate(volume, BOTH)
    assert no.value.option == "--roi"


@pytest.mark.slow
def test_noise_and_a_head_upside_down_are_refused() -> None:
    noise = np.random.default_rng(0).normal(size=(60, 70, 60))
    with pytest.raises(UserError, match="no brain found"):
        locate(Volume.from_array(noise, Affine.from_parts((3, 3, 3))), BOTH)
    template = mni152()
    wrong = Volume.from_array(template.image[::-1], template.affine)
    with pytest.raises(UserError, match="no brain found"):
        locate(wrong, BOTH)


def test_a_box_outside_the_image_is_refused_and_a_cut_one_told() -> None:
    template = mni152()
    # Planes below z = -9 mm are missing: most of the boxes.
    above = Affine(template.affine.matrix + np.outer((0, 0, 63, 0), (0, 0, 0, 1)))
    with pytest.raises(UserError, match="left lies outside"):
        locate(Volume.from_array(template.image[63:], above), BOTH)
    below = Affine(template.affine.matrix + np.outer((0, 0, 46, 0), (0, 0, 0, 1)))
    cut = Volume.from_array(template.image[46:], below)
    found = locate(cut, BOTH)
    assert all("outside the image" in line for line in found.warnings)
    assert len(found.warnings) == 2
    assert found.boxes[0][1].z[0] == 0


def test_constant_and_flat_images_and_those_without_spacing_are_refused() -> None:
    blank = np.zeros((40, 50, 40))
    with pytest.raises(UserError, match="no brain found"):
        locate(Volume.from_array(blank, Affine.from_parts((4, 4, 4))), BOTH)
    with pytest.raises(UserError, match="no spacing"):
        locate(Volume.from_array(blank), BOTH)
    with pytest.raises(UserError, match="one slice"):
        locate(Volume.from_array(blank[:1], np.eye(4)), BOTH)


def test_without_nilearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffseg.volume.template.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"napari-diffseg\[demo\].*give the region"
    ) as no:
        mni152_path()
    assert no.value.option == "--roi"


def test_the_place_says_how_it_was_found() -> None:
    card = ModelCard(
        id="toy",
        version="1",
        title="A toy",
        method="fake",
        network={},
        labels=LabelTable(labels=(Label(name="hippocampus", value=1),)),
        preparation=Preparation(orientation="RAS"),
        localisation=BOTH,
        modality="MR",
        licence="CC0",
        sha256="0",
        data="none",
        intended_use="tests",
        limits=("all",),
    )
    found, doubts = run(places(card, Request(Volume.read(mni152_path()))))
    assert [place.name for place in found] == ["left", "right"]
    assert {place.found_by for place in found} == {
        "registration to MNI152 (correlation 1.00)"
    }
    assert doubts == []
