"""False over true positives, of images of one class and of several."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffseg.metrics import (
    ClassCounts,
    by_number_of_classes,
    class_counts,
    confusion,
    cooccurrence,
)


def pair(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    mask, reference = source.integers(0, classes + 1, (2, 6, 7))
    return mask, reference


def test_counts_are_those_of_each_class_alone() -> None:
    mask, reference = pair(0)
    found = class_counts(mask, reference, 3)
    for value in range(4):
        alone = confusion(mask, reference, value)
        assert found.true_positive[value] == alone.true_positive
        assert found.false_positive[value] == alone.false_positive
        assert found.false_negative[value] == alone.false_negative
        assert found.iou[value] == pytest.approx(alone.iou)


def test_pixels_that_are_not_known_do_not_count() -> None:
    mask, reference = pair(1)
    unknown = np.random.default_rng(5).random(mask.shape) < 0.3
    marked = np.where(unknown, 255, reference)
    found = class_counts(mask, marked, 3, ignore=255)
    wanted = class_counts(mask[~unknown], reference[~unknown], 3)
    for name in ("true_positive", "false_positive", "false_negative"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_ratios_by_hand() -> None:
    reference = np.array([[0, 0, 1, 1, 1, 1, 2, 2]])
    mask = np.array([[1, 0, 1, 1, 1, 0, 1, 2]])
    found = class_counts(mask, reference, 2)
    assert found.confusion_ratio.tolist() == pytest.approx([2 / 3, 0])
    assert found.precision.tolist() == pytest.approx([1 / 2, 3 / 5, 1])
    assert found.recall.tolist() == pytest.approx([1 / 2, 3 / 4, 1 / 2])
    assert found.iou.tolist() == pytest.approx([1 / 3, 3 / 6, 1 / 2])
    told = found.summary()
    assert told["confusion_ratio"] == pytest.approx(1 / 3)
    assert told["miou"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert told["precision"] == pytest.approx((0.5 + 0.6 + 1) / 3)
    assert told["recall"] == pytest.approx((0.5 + 0.75 + 0.5) / 3)


def test_a_class_never_found_is_left_out_and_one_never_there_is_infinite() -> None:
    reference, mask = np.array([0, 1, 1]), np.array([2, 1, 0])
    found = class_counts(mask, reference, 3)
    assert found.confusion_ratio[0] == 0
    assert math.isinf(found.confusion_ratio[1])
    assert math.isnan(found.confusion_ratio[2])
    assert math.isnan(found.iou[3])
    assert math.isinf(found.summary()["confusion_ratio"])
    assert found.summary()["recall"] == pytest.approx((0 + 0.5) / 2)
    nothing = class_counts(np.zeros(3, int), np.zeros(3, int), 3)
    assert math.isnan(nothing.summary()["confusion_ratio"])
    assert nothing.summary()["miou"] == 1


def shown(*classes: int) -> np.ndarray:
    """A reference that shows these classes."""
    reference = np.zeros(20, int)
    for place, value in enumerate(classes):
        reference[3 * place : 3 * place + 3] = value
    return reference


def test_images_are_parted_by_the_classes_they_show() -> None:
    source = np.random.default_rng(7)
    references = [shown(), shown(1), shown(2), shown(1, 3), shown(1, 2, 3)]
    images = [class_counts(source.integers(0, 4, 20), one, 3) for one in references]
    groups = by_number_of_classes(images)
    assert list(groups) == [0, 1, 2, 3]
    parts = cooccurrence(images)
    assert parts.single is not None
    assert parts.several is not None

    def total(some: list[ClassCounts], name: str) -> list[int]:
        return sum(getattr(one, name) for one in some).tolist()  # type: ignore[attr-defined, no-any-return]

    for name in ("true_positive", "false_positive", "false_negative"):
        assert getattr(groups[1], name).tolist() == total(images[1:3], name)
        assert getattr(parts.single, name).tolist() == total(images[1:3], name)
        assert getattr(parts.several, name).tolist() == total(images[3:], name)


def test_a_set_may_be_empty() -> None:
    alone = cooccurrence([class_counts(shown(1), shown(1), 3)])
    assert alone.single is not None
    assert alone.several is None
    assert alone.single.summary()["confusion_ratio"] == 0
    nobody = cooccurrence([])
    assert nobody.single is None
    assert nobody.several is None


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        class_counts(np.zeros(3, int), np.zeros(4, int), 2)
    with pytest.raises(ValueError, match="reference holds"):
        class_counts(np.zeros(3, int), np.array([0, 1, 255]), 2)
    with pytest.raises(ValueError, match="mask holds"):
        class_counts(np.array([0, 1, 3]), np.zeros(3, int), 2)
