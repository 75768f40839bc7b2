"""Shapes between slices: cylinders, wedges and cones come back."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.domain import Region
from diffseg.editing import Workpiece, interpolate
from diffseg.editing.distances import edge_distance
from diffseg.errors import UserError

ROWS, COLUMNS = np.mgrid[0:41, 0:51]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(ROWS - row, COLUMNS - column) <= radius


def between(apply, shapes: dict[int, np.ndarray], depth: int, **more) -> np.ndarray:
    """All slices, from those that are given, along axis 0."""
    mask = np.zeros((depth, *ROWS.shape), np.uint8)
    for index, shape in shapes.items():
        mask[index] = shape
    change = interpolate(Workpiece(mask, 1, more.pop("spacing", (1.0, 1.0, 1.0))))
    assert not set(change.indices[0].tolist()) & set(shapes)
    return apply(mask, change) == 1


def test_a_cylinder_is_exact(apply) -> None:
    shape = disc(20, 25, 9) & ~disc(20, 25, 4)
    found = between(apply, {1: shape, 8: shape}, 12)
    assert all(np.array_equal(found[index], shape) for index in range(1, 9))
    assert not found[0].any()
    assert not found[9:].any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.5, 2.0)])
def test_a_wedge_is_exact(apply, spacing) -> None:
    first, last = (edge > COLUMNS for edge in (8, 40))
    found = between(apply, {0: first, 16: last}, 17, spacing=spacing)
    for index in range(17):
        assert np.array_equal(found[index], 8 + 2 * index > COLUMNS)


def test_a_cone_is_exact_to_its_edge_pixels(apply) -> None:
    found = between(apply, {2: disc(20, 25, 16), 12: disc(20, 25, 6)}, 15)
    for index in range(3, 12):
        radius = 18 - index
        assert not (disc(20, 25, radius - 1) & ~found[index]).any()
        assert not (found[index] & ~disc(20, 25, radius + 1)).any()
        # As radii of discs of that area: within half a pixel.
        area, expected = (
            np.count_nonzero(one) for one in (found[index], disc(20, 25, radius))
        )
        assert abs(np.sqrt(area / np.pi) - np.sqrt(expected / np.pi)) < 0.5


def test_the_result_lies_between(apply) -> None:
    rng = np.random.default_rng(7)
    for _ in range(5):
        noise = rng.normal(size=ROWS.shape)
        a = disc(*rng.uniform(14, 26, 2), 8) | (disc(20, 25, 10) & (noise > 0.8))
        b = disc(*rng.uniform(14, 26, 2), 6)
        a, b = a & ~disc(2, 2, 9), b & ~disc(2, 2, 9)
        found = between(apply, {0: a, 5: b}, 6)
        for index in range(1, 5):
            assert not (a & b & ~found[index]).any()
            assert not (found[index] & ~(a | b)).any()


def test_several_objects_keep_to_themselves(apply) -> None:
    a = disc(8, 10, 5) | disc(30, 40, 7)
    b = disc(8, 10, 5) | disc(30, 40, 7)
    assert np.array_equal(between(apply, {0: a, 4: b}, 5)[2], a)
    # One goes on, one ends: the large one does not bend towards it.
    alone = between(apply, {0: a, 4: disc(8, 10, 5)}, 5)
    assert np.array_equal(alone[2], disc(8, 10, 5))


def test_an_object_that_moves_away_is_followed(apply) -> None:
    found = between(apply, {0: disc(20, 10, 4), 4: disc(20, 22, 4)}, 5)
    for index in range(1, 4):
        assert np.array_equal(found[index], disc(20, 10 + 3 * index, 4))
    far = {0: disc(5, 5, 3), 4: disc(35, 45, 3)}
    assert not between(apply, far, 5)[1:4].any()


def test_branches_meet(apply) -> None:
    two = disc(20, 15, 6) | disc(20, 35, 6)
    one = (abs(ROWS - 20) < 7) & (COLUMNS > 8) & (COLUMNS < 42)
    found = between(apply, {0: two, 4: one}, 5)
    assert (two & found[1]).sum() == two.sum()
    assert found[1].sum() < found[2].sum() < found[3].sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_any_axis_and_beside_others(apply, axis) -> None:
    stack = np.zeros((9, *ROWS.shape), np.uint8)
    stack[1], stack[7] = disc(20, 25, 12), disc(20, 25, 12)
    stack[4, 18:22, 20:30] = 2
    mask = np.ascontiguousarray(np.moveaxis(stack, 0, axis))
    change = interpolate(Workpiece(mask, 1), axis=axis)
    after = np.moveaxis(apply(mask, change), axis, 0)
    assert (after[4][stack[4] == 2] == 2).all()
    assert np.array_equal(after[3] == 1, disc(20, 25, 12))
    taken = apply(mask, interpolate(Workpiece(mask, 1, over=True), axis=axis))
    assert not (taken == 2).any()
    assert np.array_equal(apply(mask, change) == 2, mask == 2)


def test_only_within_a_region(apply) -> None:
    mask = np.zeros((9, *ROWS.shape), np.uint8)
    mask[[0, 2, 8]] = disc(20, 25, 6)
    region = Region((0, 5), (0, 41), (0, 51))
    change = interpolate(Workpiece(mask, 1, region=region))
    assert set(change.indices[0].tolist()) == {1}


def test_too_little_to_go_by_is_told() -> None:
    mask = np.zeros((5, 6, 7), np.uint8)
    with pytest.raises(UserError, match="not drawn"):
        interpolate(Workpiece(mask, 1))
    mask[2, 3, 3] = 1
    with pytest.raises(UserError, match="one slice only; draw it in two"):
        interpolate(Workpiece(mask, 1))
    mask[3, 3, 3] = 1
    with pytest.raises(UserError, match="2 slices without a gap"):
        interpolate(Workpiece(mask, 1))


def test_distances_to_the_edge_are_exact() -> None:
    """Against the pieces of the outline, one by one."""
    rng = np.random.default_rng(3)
    mask = np.pad(rng.random((6, 7)) < 0.5, 1)
    steps = np.array([0.8, 1.7])
    pieces = []  # (fixed axis, its place, middle along the other)
    for axis in (0, 1):
        moved = np.moveaxis(mask, axis, 0)
        for i, j in np.argwhere(moved[:-1] != moved[1:]):
            pieces.append((axis, i + 0.5, j))
    found = edge_distance(mask, steps.tolist())
    for at in np.ndindex(mask.shape):
        nearest = min(
            np.hypot(
                (at[axis] - place) * steps[axis],
                max(abs(at[1 - axis] - middle) - 0.5, 0) * steps[1 - axis],
            )
            for axis, place, middle in pieces
        )
        assert abs(found[at]) == pytest.approx(nearest)
        assert (found[at] > 0) == mask[at]
