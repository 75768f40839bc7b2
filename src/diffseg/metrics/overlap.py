"""Overlap of two masks, derived from one count of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntMask = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Voxels of one structure: found, found wrongly, and missed.

    Two empty masks agree (Dice and IoU 1); one empty mask against another that
    is not disagrees (0).
    """

    true_positive: int
    false_positive: int
    false_negative: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )

    @property
    def dice(self) -> float:
        """Twice the shared voxels over the sum of both masks, in [0, 1]."""
        wrong = self.false_positive + self.false_negative
        size = 2 * self.true_positive + wrong
        return 2 * self.true_positive / size if size else 1.0

    @property
    def iou(self) -> float:
        """Shared voxels over the voxels of either mask, in [0, 1]."""
        wrong = self.false_positive + self.false_negative
        size = self.true_positive + wrong
        return self.true_positive / size if size else 1.0


def confusion(mask: IntMask, reference: IntMask, value: int = 1) -> Confusion:
    """Count the voxels that carry `value` in `mask`, in `reference`, or in both.

    Parameters
    ----------
    mask, reference : integer ndarrays of one shape
    value : int
        The structure's value in both.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    require_same_shape(mask, reference)
    found, wanted = mask == value, reference == value
    shared = int(np.count_nonzero(found & wanted))
    return Confusion(
        shared,
        int(np.count_nonzero(found)) - shared,
        int(np.count_nonzero(wanted)) - shared,
    )


def dice(mask: IntMask, reference: IntMask, value: int = 1) -> float:
    """Dice of one structure; 1 when both masks lack it, 0 when one does."""
    return confusion(mask, reference, value).dice


def iou(mask: IntMask, reference: IntMask, value: int = 1) -> float:
    """Intersection over union of one structure; empty masks as for Dice."""
    return confusion(mask, reference, value).iou


def require_same_shape(mask: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise `ValueError` where two arrays cannot be compared voxel for voxel."""
    if mask.shape != reference.shape:
        raise ValueError(f"shapes differ: {mask.shape} and {reference.shape}")
