"""How often a class is found where it is not: false over true positives.

The confusion ratio tells whether classes that occur together are told apart (Yang et
al. 2024, "Separate and conquer"; table VIII of DiCLIP). Images of a single class and
images of several are counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.metrics.overlap import IntMask, require_same_shape

Counts = NDArray[np.int64]
Ratios = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """Pixels of background and of each class, of one image or of many.

    Parameters
    ----------
    true_positive, false_positive, false_negative : (K + 1,) int64 ndarray
        Background first.
    """

    true_positive: Counts
    false_positive: Counts
    false_negative: Counts

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )

    @property
    def confusion_ratio(self) -> Ratios:
        """False over true positives of each foreground class, (K,), 0 the best.

        Infinite where a class was found, but never where it is; NaN where it was not
        found at all.
        """
        return _over(self.false_positive, self.true_positive)[1:]

    @property
    def iou(self) -> Ratios:
        """Intersection over union (K + 1,); NaN of a class in neither mask."""
        wrong = self.false_positive + self.false_negative
        return _over(self.true_positive, self.true_positive + wrong)

    @property
    def precision(self) -> Ratios:
        """Share of what was found that is right, (K + 1,); NaN where nothing was."""
        return _over(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> Ratios:
        """Share of what is there that was found, (K + 1,); NaN where nothing is."""
        return _over(self.true_positive, self.true_positive + self.false_negative)

    def summary(self) -> Mapping[str, float]:
        """Means over what is defined: confusion_ratio, miou, precision, recall.

        The ratio's is over foreground classes, the others' over background, too. NaN
        where nothing is defined, and an infinite ratio has an infinite mean.
        """
        return {
            "confusion_ratio": _mean_defined(self.confusion_ratio),
            "miou": _mean_defined(self.iou),
            "precision": _mean_defined(self.precision),
            "recall": _mean_defined(self.recall),
        }


def class_counts(
    mask: IntMask, reference: IntMask, classes: int, *, ignore: int | None = None
) -> ClassCounts:
    """Count the pixels of every class.

    Parameters
    ----------
    mask, reference : integer ndarrays of one shape
        Class indices, 0 background.
    classes : int
        Foreground classes K.
    ignore : int, optional
        Value in the reference of pixels that do not count.

    Raises
    ------
    ValueError
        The shapes differ, or a mask holds another class.
    """
    require_same_shape(mask, reference)
    known = np.ones(reference.shape, bool) if ignore is None else reference != ignore
    found = mask[known].astype(np.int64)
    wanted = reference[known].astype(np.int64)
    count = classes + 1
    for name, values in (("mask", found), ("reference", wanted)):
        if values.size and not 0 <= values.min() <= values.max() <= classes:
            raise ValueError(
                f"{name} holds {values.min()} to {values.max()}, not 0 to {classes}"
            )
    joint = np.bincount(wanted * count + found, minlength=count**2)
    table = joint.reshape(count, count)
    shared = np.diagonal(table).copy()
    return ClassCounts(shared, table.sum(0) - shared, table.sum(1) - shared)


def by_number_of_classes(images: Iterable[ClassCounts]) -> Mapping[int, ClassCounts]:
    """Sum the counts of images that show equally many foreground classes.

    Parameters
    ----------
    images : iterable of ClassCounts
        Each of one image.

    Returns
    -------
    mapping of int to ClassCounts
        By number of classes in the reference, rising; 0 are images of background alone.
    """
    groups: dict[int, list[ClassCounts]] = defaultdict(list)
    for one in images:
        there = one.true_positive + one.false_negative
        groups[int(np.count_nonzero(there[1:]))].append(one)
    return {number: summed(groups[number]) for number in sorted(groups)}


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrence:
    """Counts of images that show one foreground class, and of those with several.

    None where there is no such image. Images of background alone are in neither.
    """

    single: ClassCounts | None
    several: ClassCounts | None


def cooccurrence(images: Iterable[ClassCounts]) -> Cooccurrence:
    """Part images, each with its counts, into those of one class and of several."""
    groups = by_number_of_classes(images)
    several = [counts for number, counts in groups.items() if number > 1]
    return Cooccurrence(groups.get(1), summed(several) if several else None)


def summed(images: Iterable[ClassCounts]) -> ClassCounts:
    """Counts of all images together; one or more."""
    first, *rest = images
    total = first
    for one in rest:
        total = total + one
    return total


def _over(above: NDArray[Any], below: NDArray[Any]) -> Ratios:
    """A quotient, infinite over 0, and NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Ratios = above / below
    return quotient


def _mean_defined(values: Ratios) -> float:
    """Mean of what is not NaN; NaN where nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")
