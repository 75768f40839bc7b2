"""Margins are balls in mm, whatever the spacing, the box and the slabs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from diffseg.domain import Region
from diffseg.editing import Workpiece, distances, margin
from diffseg.errors import UserError

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.7, 1.1), (0.5, 3.0, 1.0)]


def near(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """Every voxel within so many mm of one of the mask's: brute force."""
    own = np.argwhere(mask) * spacing
    every = np.indices(mask.shape).reshape(3, -1).T * spacing
    apart = cdist(every, own).min(axis=1)
    return (apart <= mm + 1e-6).reshape(mask.shape)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("mm", [0.7, 2.1, 3.0])
def test_grown_by_a_ball_in_mm(blobs, apply, spacing, mm) -> None:
    grown = apply(blobs, margin(Workpiece(blobs, 1, spacing), mm))
    expected = near(blobs == 1, mm, spacing)
    assert np.array_equal(grown == 1, (blobs == 1) | (expected & (blobs == 0)))
    kept = blobs > 1
    assert np.array_equal(grown[kept], blobs[kept])
    over = apply(blobs, margin(Workpiece(blobs, 1, spacing, over=True), mm))
    assert np.array_equal(over == 1, expected)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("mm", [0.7, 1.1])
def test_shrunk_by_a_ball_in_mm(blobs, apply, spacing, mm) -> None:
    blobs[3:10, 4:12, 3:12] = 1
    shrunk = apply(blobs, margin(Workpiece(blobs, 1, spacing), -mm))
    assert np.array_equal(shrunk == 1, (blobs == 1) & ~near(blobs != 1, mm, spacing))
    assert np.array_equal(shrunk[blobs > 1], blobs[blobs > 1])


def test_one_voxel_grows_into_the_ball(apply: Callable[..., np.ndarray]) -> None:
    mask = np.zeros((9, 15, 21), np.uint8)
    mask[4, 7, 10] = 5
    grown = apply(mask, margin(Workpiece(mask, 5, (2.0, 1.0, 0.5)), 4.0)) == 5
    z, y, x = np.ogrid[-4:5, -7:8, -10:11]
    assert np.array_equal(grown, (2 * z) ** 2 + y**2 + (x / 2) ** 2 <= 16)


def test_slabs_do_not_show(blobs, apply, monkeypatch) -> None:
    piece = Workpiece(blobs, 2, (1.5, 1.0, 1.0))
    whole = apply(blobs, margin(piece, 2.0))
    monkeypatch.setattr(distances, "_AT_ONCE", 1)
    assert np.array_equal(apply(blobs, margin(piece, 2.0)), whole)


def test_a_slice_grows_as_a_picture(blobs, apply) -> None:
    region = Region((6, 7), (0, 17), (2, 15))
    grown = apply(blobs, margin(Workpiece(blobs, 1, region=region), 2.0))
    outside = np.ones(blobs.shape, bool)
    outside[region.slices] = False
    assert np.array_equal(grown[outside], blobs[outside])
    flat = blobs[6:7, :, 2:].copy()
    alone = apply(flat, margin(Workpiece(flat, 1), 2.0))
    assert np.array_equal(grown[region.slices], alone)


def test_nothing_moves_nothing(blobs) -> None:
    assert len(margin(Workpiece(blobs, 1), 0.0)) == 0
    assert len(margin(Workpiece(blobs, 1, (9.0, 9.0, 9.0)), 8.0)) == 0
    full = np.ones((3, 4, 5), np.uint8)
    # Beyond the image nothing is known: what reaches its edge is not shrunk there.
    assert len(margin(Workpiece(full, 1), -1.0)) == 0


@pytest.mark.parametrize("mm", [float("nan"), float("inf"), -50.0])
def test_impossible_margins_are_told(blobs, mm) -> None:
    with pytest.raises(UserError) as told:
        margin(Workpiece(blobs, 1, name="liver"), mm)
    assert "\n" not in str(told.value)


def test_what_is_not_drawn_is_told() -> None:
    with pytest.raises(UserError, match="liver is not drawn in this part"):
        margin(Workpiece(np.zeros((2, 3, 4), np.uint8), 1, name="liver"), 1.0)
