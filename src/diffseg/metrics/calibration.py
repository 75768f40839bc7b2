"""How far stated probabilities are from the share that is right.

Two readings of a segmentation's expected calibration error are common, and their
numbers differ. *Top label* (Guo et al., 2017): of the voxels whose predicted class has
0.9, nine in ten should be of that class. *Binary*: of the voxels whose structure has
0.3, three in ten should be inside it; the whole range of [0, 1] is looked at, one
structure at a time. Both use ten equal bins, the last closed at 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.metrics.overlap import IntMask, require_same_shape

BINS = 10

Box = tuple[slice, slice, slice]


def _zeros() -> NDArray[np.float64]:
    return np.zeros(BINS)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCounts:
    """Sums from which the expected calibration error of many cases follows.

    Ten equal bins over [0, 1] of a confidence; a bin holds its lower edge, the
    last one 1.0 as well. Start with ``CalibrationCounts()``, `add` each case (top
    label) or `add_structure` (binary), never both to one; or add up the counts of
    several.

    Parameters
    ----------
    counts, confidences, hits : (10,) float64 ndarrays
        Voxels in each bin, the sum of their confidences, and how many of them
        carry the reference's class (binary: lie inside the structure).
    """

    counts: NDArray[np.float64] = field(default_factory=_zeros)
    confidences: NDArray[np.float64] = field(default_factory=_zeros)
    hits: NDArray[np.float64] = field(default_factory=_zeros)

    def add(
        self, probability: NDArray[np.floating[Any]], reference: IntMask
    ) -> CalibrationCounts:
        """Return these counts and those of one more case, by its top label.

        The confidence is the largest probability over background and classes.

        Parameters
        ----------
        probability : (K, Z, Y, X) ndarray in [0, 1]
            Background at 0, then the foreground classes.
        reference : (Z, Y, X) integer ndarray
            Class of each voxel: 0 for background, `i` for ``probability[i]``.

        Raises
        ------
        ValueError
            The shapes differ, or a probability is NaN or outside [0, 1].
        """
        require_same_shape(probability[0], reference)
        top = probability.argmax(axis=0)
        return self + _binned(probability.max(axis=0), top == reference)

    def add_structure(
        self, probability: NDArray[np.floating[Any]], inside: NDArray[np.bool_]
    ) -> CalibrationCounts:
        """Return these counts and those of one structure in one more case.

        The confidence is the structure's own probability, over all of [0, 1].

        Parameters
        ----------
        probability : (Z, Y, X) ndarray in [0, 1]
        inside : (Z, Y, X) bool ndarray
            Where the reference holds the structure.

        Raises
        ------
        ValueError
            As `add`.
        """
        require_same_shape(probability, inside)
        return self + _binned(probability, inside)

    def __add__(self, other: CalibrationCounts) -> CalibrationCounts:
        return CalibrationCounts(
            self.counts + other.counts,
            self.confidences + other.confidences,
            self.hits + other.hits,
        )

    @property
    def ece(self) -> float | None:
        """Expected calibration error in [0, 1]; None before the first voxel.

        Mean over voxels of the gap between a bin's mean confidence and its
        accuracy: ``sum_b |hits_b - confidences_b| / n``.
        """
        total = self.counts.sum()
        if not total:
            return None
        return float(np.abs(self.hits - self.confidences).sum() / total)

    @property
    def reliability(self) -> list[list[float | int | None]]:
        """Mean confidence, accuracy and voxels of each bin.

        Ten rows; confidence and accuracy are None in a bin without voxels.
        """
        rows: list[list[float | int | None]] = []
        sums = zip(self.counts, self.confidences, self.hits, strict=True)
        for count, confidence, hits in sums:
            if count:
                rows.append([float(confidence / count), float(hits / count)])
            else:
                rows.append([None, None])
            rows[-1].append(int(count))
        return rows


def _binned(
    confidence: NDArray[np.floating[Any]], hit: NDArray[np.bool_]
) -> CalibrationCounts:
    confidence = confidence.astype(np.float64).ravel()
    # Written so that NaN, which compares false, is refused as well.
    if not np.all((confidence >= 0) & (confidence <= 1 + 1e-5)):
        raise ValueError("probabilities are NaN or outside [0, 1]")
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)

    def sums(weights: NDArray[Any] | None) -> NDArray[np.float64]:
        found = np.bincount(bins, weights=weights, minlength=BINS)
        return found.astype(np.float64)

    return CalibrationCounts(sums(None), sums(confidence), sums(hit.ravel()))


def foreground_box(
    reference: IntMask, prediction: IntMask, margin: int = 5
) -> Box | None:
    """Box of everything that is not background in either mask, widened.

    Parameters
    ----------
    reference, prediction : (Z, Y, X) integer ndarrays
    margin : int
        Voxels added on every side, as far as the volume reaches.

    Returns
    -------
    tuple of three slices, or None where both masks are empty.
    """
    require_same_shape(reference, prediction)
    found = ndimage.find_objects(
        ((reference != 0) | (prediction != 0)).astype(np.uint8)
    )
    if not found:
        return None
    z, y, x = (
        slice(max(axis.start - margin, 0), min(axis.stop + margin, size))
        for axis, size in zip(found[0], reference.shape, strict=True)
    )
    return (z, y, x)
