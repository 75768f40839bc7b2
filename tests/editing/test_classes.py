"""Boolean operations between classes, and the brush with a range."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.domain import Region
from diffseg.editing import (
    Operand,
    Workpiece,
    combine,
    paint_within,
    seed_range,
    within_range,
)
from diffseg.errors import UserError

DO = {
    "union": lambda a, b: a | b,
    "intersection": lambda a, b: a & b,
    "difference": lambda a, b: a & ~b,
    "exclusive": lambda a, b: a ^ b,
}


@pytest.mark.parametrize("operation", list(DO))
@pytest.mark.parametrize("target", [1, 3, 9])
def test_between_a_class_and_another_mask(blobs, apply, operation, target) -> None:
    other = np.roll(blobs, 2, axis=1)
    operands = Operand(blobs, 1), Operand(other, 2)
    change = combine(Workpiece(blobs, target), *operands, operation)
    after = apply(blobs, change)
    wanted = DO[operation](blobs == 1, other == 2)
    free = np.isin(blobs, [0, 1, target])
    assert np.array_equal((after == target)[free], wanted[free])
    assert np.array_equal(after[~free], blobs[~free])
    assert len(combine(Workpiece(after, target), Operand(blobs, 1), operands[1],
                       operation)) == 0 or target == 1  # fmt: skip
    over = apply(blobs, combine(Workpiece(blobs, target, over=True), *operands,
                                operation))  # fmt: skip
    assert np.array_equal(over == target, wanted)


def test_classes_of_one_mask(blobs, apply) -> None:
    one, two = Operand(blobs, 1, "liver"), Operand(blobs, 2, "lesion")
    union = apply(blobs, combine(Workpiece(blobs, 1), one, two, "union"))
    assert np.array_equal(union == 1, np.isin(blobs, [1, 2]))
    assert np.array_equal(union == 3, blobs == 3)
    assert len(combine(Workpiece(blobs, 1), one, two, "difference")) == 0
    with pytest.raises(UserError, match="never overlap"):
        combine(Workpiece(blobs, 1), one, two, "intersection")
    with pytest.raises(UserError, match="union, intersection"):
        combine(Workpiece(blobs, 1), one, two, "minus")  # type: ignore[arg-type]
    empty = np.zeros_like(blobs)
    with pytest.raises(UserError, match="neither liver nor lesion is drawn"):
        combine(Workpiece(empty, 1), Operand(empty, 1, "liver"),
                Operand(empty, 2, "lesion"), "union")  # fmt: skip


def test_only_within_a_region(blobs, apply) -> None:
    region = Region((2, 6), (3, 9), (1, 12))
    one, two = Operand(blobs, 1), Operand(blobs, 2)
    change = combine(Workpiece(blobs, 3, region=region), one, two, "union")
    after = apply(blobs, change)
    inside = np.zeros(blobs.shape, bool)
    inside[region.slices] = True
    assert np.array_equal(after[~inside], blobs[~inside])
    assert np.array_equal((after == 3)[inside], np.isin(blobs, [1, 2])[inside])


def test_the_brush_paints_what_fits_and_hangs_together(apply) -> None:
    image = np.zeros((1, 21, 21))
    image[0, 8:13, 4:11] = 100  # where the brush is put
    image[0, 8:13, 12:16] = 100  # within reach, but apart
    mask = np.zeros(image.shape, np.uint8)
    mask[0, 9, 9] = 2
    change = paint_within(Workpiece(mask, 1), image, (0, 10, 9), 6.0, 90, 110)
    found = apply(mask, change)
    rows, columns = np.mgrid[0:21, 0:21]
    expected = (np.hypot(rows - 10, columns - 9) <= 6) & (image[0] == 100)
    expected &= columns < 11
    expected[9, 9] = False
    assert np.array_equal(found[0] == 1, expected)
    assert found[0, 9, 9] == 2
    # What is painted already stays, whatever its intensity.
    again = paint_within(Workpiece(found, 1), image, (0, 10, 9), 6.0, 0, 50)
    assert len(again) == 0


def test_the_brush_is_a_ball_in_mm_and_stays_in_the_image(apply) -> None:
    image = np.ones((5, 9, 9), np.float32)
    mask = np.zeros(image.shape, np.uint8)
    piece = Workpiece(mask, 1, (2.0, 1.0, 1.0))
    found = apply(mask, paint_within(piece, image, (0, 4, 8), 3.0, 1, 1)) == 1
    z, y, x = np.ogrid[0:5, -4:5, -8:1]
    assert np.array_equal(found, (2 * z) ** 2 + y**2 + x**2 <= 9)
    for center, low, high in (((0, 0, 0), 2, 1), ((5, 0, 0), 0, 2)):
        with pytest.raises(UserError, match="nothing to paint"):
            paint_within(piece, image, center, 3.0, low, high)


def test_a_seed_tells_its_range() -> None:
    rng = np.random.default_rng(0)
    around = rng.normal(50, 4, 4000)
    around[:200] = 900  # of something else
    low, high = seed_range(around, 2.0)
    assert low == pytest.approx(42, abs=1)
    assert high == pytest.approx(58, abs=1)
    assert seed_range(np.full(5, 7.0)) == (7.0, 7.0)
    with pytest.raises(UserError, match="no intensity"):
        seed_range(np.array([np.nan]))


def test_a_centre_that_does_not_fit_paints_nothing() -> None:
    brush, image = np.ones((3, 3), bool), np.arange(9.0).reshape(3, 3)
    assert not within_range(brush, image, (0, 0), 3, 9).any()
    assert not within_range(brush, image, (5, 0), 0, 9).any()
    assert within_range(brush, image, (2, 2), 3, 8).sum() == 6
