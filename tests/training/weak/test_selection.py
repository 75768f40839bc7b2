"""Sure foreground and background of two maps."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.segmenters.weak.thresholds import Threshold
from diffseg_training.weak.selection import Rules, activated, drawn, selected

HALF = Threshold(kind="fixed", value=0.5)
CAM = np.array([[0, 1, 1, 0], [0, 1, 1, 0]], np.float32)
STEEP = np.array([[0, 0, 1, 1], [0, 0, 3, 3]], np.float32)


def rules(**more: object) -> Rules:
    return Rules(HALF, HALF, **{"blur": 0.0} | more)  # type: ignore[arg-type]


def test_foreground_is_where_both_are_high_and_background_where_neither_is() -> None:
    found = selected(CAM[None], STEEP[None], rules())
    # The gradient's first row is a third of its highest: not above a half.
    np.testing.assert_array_equal(found, [[0, -1, -1, 0], [0, -1, 1, -1]])


@pytest.mark.parametrize(
    ("fusion", "wanted"),
    [
        ("cam", [[0, 1, 1, 0], [0, 1, 1, 0]]),
        ("gradient", [[0, 0, 0, 0], [0, 0, 1, 1]]),
    ],
)
def test_one_map_alone_leaves_nothing_unsaid(
    fusion: str, wanted: list[list[int]]
) -> None:
    found = selected(CAM[None], STEEP[None], rules(fusion=fusion))
    np.testing.assert_array_equal(found, wanted)


def test_the_gradient_map_is_stretched_whatever_its_scale() -> None:
    plain = activated(CAM, STEEP, rules())
    for one, other in zip(plain, activated(CAM, 1e-6 * STEEP, rules()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_may_be_of_two_classes_is_of_none_for_sure() -> None:
    cams = np.zeros((2, 1, 4), np.float32)
    cams[0, 0, :3], cams[1, 0, 2:] = 1, 1
    found = selected(cams, cams, rules())
    np.testing.assert_array_equal(found, [[1, 1, -1, 2]])


def test_pixels_are_drawn_without_replacement_and_no_more_than_asked() -> None:
    classes = np.full((20, 20), -1, np.int16)
    classes[:10], classes[12:14] = 0, 1
    source = np.random.default_rng(0)
    points = drawn(classes, rules(foreground=30, background=70), source)
    assert len(np.unique(points[:, :2], axis=0)) == 100
    for index, count in ((0, 70), (1, 30)):
        some = points[points[:, 2] == index]
        assert len(some) == count
        assert (classes[some[:, 0], some[:, 1]] == index).all()
    everything = drawn(classes, rules(), source)
    assert len(everything) == 240


@pytest.mark.parametrize("only", [-1, 0, 1])
def test_a_slice_without_foreground_or_background_is_of_no_use(only: int) -> None:
    classes = np.full((5, 5), only, np.int16)
    assert len(drawn(classes, rules(), np.random.default_rng(0))) == 0


def test_a_slice_that_shows_nothing_gives_background() -> None:
    classes = np.zeros((5, 5), np.int16)
    found = drawn(
        classes, rules(background=7), np.random.default_rng(0), positive=False
    )
    assert len(found) == 7
    assert not found[:, 2].any()


def test_a_map_that_is_flat_selects_nothing() -> None:
    flat = np.ones((4, 4), np.float32)
    found = selected(flat[None], flat[None], Rules(Threshold(), Threshold()))
    assert not (found > 0).any()
