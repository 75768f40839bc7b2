"""Doubtful places: found, kept apart, spread over structures."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.ensemble.places import doubtful_places, slice_doubts

SHAPE = (20, 30, 40)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two structures without any doubt."""
    classes = np.zeros(SHAPE, np.uint8)
    classes[5:15, 5:25, 5:15] = 1
    classes[8:12, 10:14, 28:32] = 2
    probability = np.stack([classes == 1, classes == 2]).astype(np.float32)
    return np.zeros(SHAPE, np.float32), probability, classes


def doubt(uncertainty: np.ndarray, at: tuple[int, int, int], value: float) -> None:
    z, y, x = at
    uncertainty[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = value / 2
    uncertainty[at] = value


def test_nothing_in_doubt_gives_no_place() -> None:
    assert doubtful_places(*scene()) == ()
    uncertainty, probability, classes = scene()
    uncertainty[:] = 0.1  # everywhere a little, nowhere much
    assert doubtful_places(uncertainty, probability, classes) == ()


def test_places_are_where_doubt_is_densest() -> None:
    uncertainty, probability, classes = scene()
    doubt(uncertainty, (10, 5, 10), 0.9)
    doubt(uncertainty, (10, 24, 10), 0.6)
    found = doubtful_places(uncertainty, probability, classes)
    assert [one.center for one in found] == [(10, 5, 10), (10, 24, 10)]
    assert [one.index for one in found] == [0, 0]
    assert found[0].voxels == 27
    assert found[0].score > found[1].score


def test_one_blob_is_one_place() -> None:
    uncertainty, probability, classes = scene()
    doubt(uncertainty, (10, 5, 10), 0.9)
    doubt(uncertainty, (10, 7, 11), 0.8)
    assert len(doubtful_places(uncertainty, probability, classes)) == 1
    near = doubtful_places(uncertainty, probability, classes, apart=1.5)
    assert len(near) > 1


def test_distance_is_in_millimetres() -> None:
    uncertainty, probability, classes = scene()
    doubt(uncertainty, (7, 5, 10), 0.9)
    doubt(uncertainty, (12, 5, 10), 0.9)
    thin = doubtful_places(uncertainty, probability, classes, (1, 1, 1))
    thick = doubtful_places(uncertainty, probability, classes, (5, 1, 1))
    assert (len(thin), len(thick)) == (1, 2)


def test_a_small_structure_is_not_drowned() -> None:
    uncertainty, probability, classes = scene()
    for y in (5, 14, 24):
        doubt(uncertainty, (10, y, 10), 0.9)
    doubt(uncertainty, (10, 11, 30), 0.5)
    found = doubtful_places(uncertainty, probability, classes)
    assert found[0].index == 1  # of the two first ones, it is the more doubtful
    assert [one.index for one in found] == [1, 0, 0, 0]


def test_what_the_mask_missed_is_a_place() -> None:
    uncertainty, probability, classes = scene()
    doubt(uncertainty, (3, 25, 35), 0.9)
    probability[1, 2:5, 24:27, 34:37] = 0.4
    (place,) = doubtful_places(uncertainty, probability, classes)
    assert place.index == 1
    assert place.neighbours == ()


def test_neighbours_tell_a_border_from_a_meeting() -> None:
    uncertainty, probability, classes = scene()
    classes[5:15, 5:25, 15:20] = 2
    doubt(uncertainty, (10, 14, 15), 0.9)
    doubt(uncertainty, (10, 5, 7), 0.8)
    found = {
        one.center: one.neighbours
        for one in doubtful_places(uncertainty, probability, classes)
    }
    assert found == {(10, 14, 15): (0, 1), (10, 5, 7): (0,)}


def by_hand(
    uncertainty: np.ndarray, steps: tuple[float, ...], apart: float
) -> list[tuple[tuple[int, ...], int]]:
    """The greedy rule, point against point, for one structure."""
    points = np.argwhere(uncertainty >= 0.2)
    dense = np.zeros(len(points))
    half = [max(1, round(apart / 2 / step)) for step in steps]
    extent = np.ptp(points, axis=0) + 1
    for i, one in enumerate(points):
        reach = np.minimum(half, extent - 1)
        box = (np.abs(points - one) <= reach).all(1)
        dense[i] = uncertainty[tuple(points[box].T)].sum() / np.prod(
            np.minimum(2 * np.array(half) + 1, 2 * extent - 1)
        )
    dense += 1e-3 * uncertainty[tuple(points.T)] * dense.max()
    left, found = np.ones(len(points), bool), []
    while left.any():
        best = np.flatnonzero(left)[dense[left].argmax()]
        far = (((points - points[best]) * steps) ** 2).sum(1) > apart**2
        near = left & ~far
        left &= far
        if near.sum() >= 3:
            found.append((tuple(points[best].tolist()), int(near.sum())))
    return found


@pytest.mark.parametrize("shape", [(1, 14, 17), (6, 9, 8)])
@pytest.mark.parametrize("steps", [(1.0, 1.0, 1.0), (3.0, 0.7, 1.3)])
def test_places_are_those_of_the_rule_by_hand(
    shape: tuple[int, ...], steps: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(3)
    uncertainty = rng.random(shape).astype(np.float32)
    uncertainty[rng.random(shape) < 0.3] = 0
    expected = by_hand(uncertainty, steps, 4.0)
    found = doubtful_places(
        uncertainty, uncertainty[None], np.ones(shape, np.uint8), steps,
        apart=4.0, most=10_000,
    )  # fmt: skip
    ours = {(one.center, one.voxels) for one in found}
    assert len(ours) > 3
    assert ours <= set(expected)
    # Only what is faint beside the strongest place is not told.
    assert len(expected) - len(ours) <= len(expected) // 3


def test_a_picture_in_doubt_everywhere_has_its_places_soon() -> None:
    # Point against point these would be hundreds of millions of comparisons.
    uncertainty = np.full((1, 500, 600), 0.9, np.float32)
    classes = np.ones(uncertainty.shape, np.uint8)
    found = doubtful_places(uncertainty, uncertainty[None], classes)
    assert len(found) == 24
    centers = np.array([one.center for one in found])
    apart = np.linalg.norm(centers[:, None] - centers, axis=2)
    assert apart[~np.eye(24, dtype=bool)].min() > 8


def test_at_most_so_many_and_in_the_same_order_again() -> None:
    uncertainty, probability, classes = scene()
    rng = np.random.default_rng(0)
    uncertainty[:] = rng.random(SHAPE)
    found = doubtful_places(uncertainty, probability, classes, most=5)
    assert len(found) == 5
    assert doubtful_places(uncertainty, probability, classes, most=5) == found


def test_grids_must_agree() -> None:
    uncertainty, probability, classes = scene()
    with pytest.raises(ValueError, match="grids"):
        doubtful_places(uncertainty[1:], probability, classes)


def test_slices_are_compared_whatever_their_background() -> None:
    uncertainty, _, classes = scene()
    uncertainty[10, 5:25, 5] = 0.8  # twenty voxels of a border
    uncertainty[2, 0, 0] = 0.9  # one voxel of nothing
    doubts = slice_doubts(uncertainty, classes)
    assert doubts.shape == (SHAPE[0],)
    assert doubts.dtype == np.float32
    assert int(doubts.argmax()) == 10
    assert doubts[2] < doubts[10] / 2
    assert doubts[0] == 0
    wide = np.pad(uncertainty, ((0, 0), (50, 50), (50, 50)))
    background = np.pad(classes, ((0, 0), (50, 50), (50, 50)))
    assert np.array_equal(slice_doubts(wide, background), doubts)
    along = slice_doubts(uncertainty, classes, axis=2)
    assert along.shape == (SHAPE[2],)
    assert int(along.argmax()) == 5


def test_slices_without_anything_are_sure() -> None:
    uncertainty, _, classes = scene()
    assert not slice_doubts(uncertainty, np.zeros_like(classes)).any()
