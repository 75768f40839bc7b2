"""Smooth surfaces: brute force, round things, volumes."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.domain import Region
from diffseg.editing import Workpiece, distances, smooth
from diffseg.editing.distances import ball
from diffseg.errors import UserError

SPACING = (1.5, 1.0, 0.8)


def median(mask: np.ndarray, radius: float, spacing) -> np.ndarray:
    kernel = ball(radius, spacing)
    pads = [(n // 2, n // 2) for n in kernel.shape]
    wide = np.pad(mask, pads, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel.shape)
    return windows[..., kernel].mean(axis=-1) > 0.5


@pytest.mark.parametrize("radius", [1.0, 2.3])
def test_median_is_what_most_of_a_ball_is(blobs, apply, radius) -> None:
    blobs[3:10, 4:12, 3:12] = 1
    found = apply(blobs, smooth(Workpiece(blobs, 1, SPACING), radius))
    expected = median(blobs == 1, radius, SPACING)
    free = blobs < 2
    assert np.array_equal((found == 1)[free], expected[free])
    assert np.array_equal(found[~free], blobs[~free])


@pytest.mark.parametrize("method", ["median", "gaussian"])
def test_slabs_do_not_show(blobs, apply, monkeypatch, method) -> None:
    piece = Workpiece(blobs, 2, SPACING)
    whole = apply(blobs, smooth(piece, 1.2, method=method, keep_volume=True))
    monkeypatch.setattr(distances, "_AT_ONCE", 1)
    again = apply(blobs, smooth(piece, 1.2, method=method, keep_volume=True))
    assert np.array_equal(again, whole)


@pytest.mark.parametrize("method", ["median", "gaussian"])
def test_rough_gets_smooth_and_the_volume_can_stay(apply, method) -> None:
    z, y, x = np.ogrid[-15:16, -15:16, -15:16]
    sphere = z**2 + y**2 + x**2 <= 100
    rng = np.random.default_rng(0)
    shell = (z**2 + y**2 + x**2 <= 144) & (z**2 + y**2 + x**2 > 64)
    rough = np.where(shell, rng.random(sphere.shape) < 0.5, sphere).astype(np.uint8)

    def faces(mask: np.ndarray) -> int:
        return sum(np.count_nonzero(np.diff(mask, axis=axis)) for axis in range(3))

    plain = apply(rough, smooth(Workpiece(rough, 1), 2.0, method=method))
    kept = apply(
        rough, smooth(Workpiece(rough, 1), 2.0, method=method, keep_volume=True)
    )
    assert faces(plain == 1) < 0.5 * faces(rough == 1)
    assert faces(kept == 1) < 0.5 * faces(rough == 1)
    count = np.count_nonzero(rough)
    assert abs(np.count_nonzero(kept) - count) <= 0.01 * count


@pytest.mark.parametrize("method", ["median", "gaussian"])
def test_what_is_flat_stays(method) -> None:
    half = np.zeros((8, 9, 10), np.uint8)
    half[:, :, :5] = 1
    assert len(smooth(Workpiece(half, 1), 2.0, method=method)) == 0
    full = np.ones((4, 5, 6), np.uint8)
    assert len(smooth(Workpiece(full, 1), 2.0, method=method)) == 0


@pytest.mark.parametrize("method", ["median", "gaussian"])
def test_a_slice_is_a_picture(blobs, apply, method) -> None:
    region = Region((0, 13), (8, 9), (0, 15))
    piece = Workpiece(blobs, 1, SPACING, region)
    found = apply(blobs, smooth(piece, 1.7, method=method, keep_volume=True))
    outside = np.ones(blobs.shape, bool)
    outside[region.slices] = False
    assert np.array_equal(found[outside], blobs[outside])
    picture = blobs[:, 8].copy()[None]
    flat = Workpiece(picture, 1, (7.0, SPACING[0], SPACING[2]))
    alone = apply(picture, smooth(flat, 1.7, method=method, keep_volume=True))
    assert np.array_equal(found[:, 8], alone[0])


def test_what_cannot_be_is_told(blobs) -> None:
    for radius in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="above 0 mm"):
            smooth(Workpiece(blobs, 1), radius)
    dot = np.zeros((9, 9, 9), np.uint8)
    dot[4, 4, 4] = 1
    with pytest.raises(UserError, match="nothing of dot is left"):
        smooth(Workpiece(dot, 1, name="dot"), 3.0)
    with pytest.raises(UserError, match="not drawn"):
        smooth(Workpiece(dot, 2), 3.0)
