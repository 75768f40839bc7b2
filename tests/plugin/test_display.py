"""However a volume is stored, it is shown in one way, and edits find their way back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffseg.volume import Affine, Display, Grid, Volume

SHAPE = (7, 9, 5)
SPACING = (0.7, 1.3, 4.1)
TURNS = [
    np.eye(3)[list(order)] * np.array(signs)
    for order in permutations(range(3))
    for signs in product([1.0, -1.0], repeat=3)
]


def grid_of(turn, tilt=None) -> Grid:
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(SPACING)
    if tilt is not None:
        rotation = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
        matrix[:3, :3] = rotation @ matrix[:3, :3]
    matrix[:3, 3] = (-31.5, 12.25, 77.0)
    return Grid(SHAPE, Affine(matrix))


def voxels() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)


@pytest.mark.parametrize("tilt", [None, (17.0, -11.0, 23.0)])
@pytest.mark.parametrize("turn", TURNS)
def test_every_orientation_is_shown_head_up_and_patients_right_on_the_left(turn, tilt):
    display = Display.of(grid_of(turn, tilt))
    assert display.letters == ("I", "P", "L")
    assert display.ends == (("S", "I"), ("A", "P"), ("R", "L"))
    assert min(display.scale) > 0
    # Spacings travel with their axes.
    assert sorted(display.scale) == pytest.approx(sorted(SPACING))
    assert display.view(voxels()).shape == display.shown.shape


@pytest.mark.parametrize("tilt", [None, (17.0, -11.0, 23.0)])
@pytest.mark.parametrize("turn", TURNS)
def test_a_shown_voxel_lies_where_the_source_says(turn, tilt):
    grid = grid_of(turn, tilt)
    display = Display.of(grid)
    shown = display.view(voxels())
    for index in product(*((0, size // 2) for size in shown.shape)):
        z, y, x = np.argwhere(voxels() == shown[index])[0]
        native = display.native_indices([np.array([i]) for i in index])
        assert [int(axis[0]) for axis in native] == [z, y, x]
        back = display.shown_indices(native)
        assert tuple(int(axis[0]) for axis in back) == index
        expected = grid.affine @ np.array([x, y, z], float)
        assert display.to_ras(index) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("turn", TURNS)
def test_the_viewers_millimetres_are_the_patients(turn):
    display = Display.of(grid_of(turn))
    index = (1, 2, 3)
    world = [
        start + step * at
        for start, step, at in zip(display.translate, display.scale, index, strict=True)
    ]
    # Axes run to feet, back and left: RAS, reversed in order and in sign.
    x, y, z = display.to_ras(index)
    assert world == pytest.approx([-z, -y, -x], abs=1e-9)


@pytest.mark.parametrize("turn", TURNS)
def test_edits_in_what_is_shown_land_in_the_source(turn):
    display, mask = Display.of(grid_of(turn)), np.zeros(SHAPE, np.uint8)
    shown = display.view(mask)
    assert np.shares_memory(shown, mask)
    shown[1:3, 2:4, 0:2] = 7
    ranges = display.native_ranges([(1, 3), (2, 4), (0, 2)])
    inside = tuple(slice(*one) for one in ranges)
    assert (mask[inside] == 7).all()
    assert np.count_nonzero(mask) == 8
    np.testing.assert_array_equal(display.native_view(shown), mask)
    assert np.shares_memory(display.native_view(shown), mask)


@pytest.mark.parametrize("turn", TURNS[::7])
def test_leading_axes_stay_in_front(turn):
    display = Display.of(grid_of(turn))
    classes = np.stack([voxels(), -voxels()])
    shown = display.view(classes)
    np.testing.assert_array_equal(shown[1], -display.view(voxels()))
    np.testing.assert_array_equal(display.native_view(shown), classes)


@pytest.mark.parametrize("turn", TURNS)
def test_the_thickest_axis_is_leafed_through(turn):
    display = Display.of(grid_of(turn))
    assert display.scale[display.slice_axis] == pytest.approx(max(SPACING))


def test_an_isotropic_volume_is_leafed_through_from_head_to_feet():
    grid = Grid(SHAPE, Affine(np.diag([1.0, 1.0, 1.1, 1.0])))
    assert Display.of(grid).slice_axis == 0


def test_one_plane_is_shown_as_that_plane():
    # A coronal slice: file axes (i, j, k) run left, up, and through the plane.
    matrix = np.array([[-1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])
    display = Display.of(Grid((1, 9, 5), Affine(matrix)))
    assert display.slice_axis == 1
    assert display.shown.shape == (9, 1, 5)


def test_a_picture_is_shown_as_it_is_stored():
    volume = Volume.from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))
    display = Display.of(volume.grid)
    assert display.scale == (1.0, 1.0, 1.0)
    assert display.translate == (0.0, 0.0, 0.0)
    assert display.unit == "pixel"
    assert display.letters == ("", "", "")
    assert display.to_ras((0, 1, 1)) is None
    assert display.oblique_deg == 0.0
    assert display.slice_axis == 0
    np.testing.assert_array_equal(display.view(volume.data[0]), volume.data[0])


def test_an_oblique_volume_tells_its_angle():
    assert Display.of(grid_of(TURNS[0])).oblique_deg == pytest.approx(0.0, abs=1e-6)
    assert Display.of(grid_of(TURNS[0], (20.0, 0.0, 0.0))).oblique_deg == (
        pytest.approx(20.0, abs=1e-6)
    )
