"""Calibration and ranking of a whole split, from what each case adds to its bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffseg.metrics.calibration import CalibrationCounts
from diffseg.metrics.ranking import ErrorRanking, aurc, auroc
from diffseg.metrics.statistic import Floats, Statistic


def ece_of(parts: Sequence[CalibrationCounts]) -> Statistic:
    """Calibration error over the voxels of all cases; see `CalibrationCounts.ece`."""
    rows = [
        np.append(part.hits - part.confidences, part.counts.sum()) for part in parts
    ]

    def ece(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            found: Floats = np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]
        return found

    return Statistic(np.stack(rows), ece)


def auroc_of(rankings: Sequence[ErrorRanking]) -> Statistic:
    """Chance that a wrong voxel is more uncertain than a right one, of all cases.

    Of as many bins as the rankings have: few make it coarse.
    """
    return Statistic(_histograms(rankings), lambda sums: auroc(*np.split(sums, 2, 1)))


def aurc_of(rankings: Sequence[ErrorRanking]) -> Statistic:
    """Area under the risk-coverage curve of the voxels of all cases."""
    return Statistic(_histograms(rankings), lambda sums: aurc(*np.split(sums, 2, 1)))


def excess_of(rankings: Sequence[ErrorRanking]) -> Statistic:
    """Return what that area lies above the ideal one."""

    def excess(sums: Floats) -> Floats:
        wrong, right = np.split(sums, 2, axis=1)
        none = np.zeros(len(sums))
        at_last = np.stack([none, wrong.sum(axis=1)], axis=1)
        at_first = np.stack([right.sum(axis=1), none], axis=1)
        return aurc(wrong, right) - aurc(at_last, at_first)

    return Statistic(_histograms(rankings), excess)


def _histograms(rankings: Sequence[ErrorRanking]) -> NDArray[np.float64]:
    rows = [np.concatenate([one.wrong, one.right]) for one in rankings]
    return np.stack(rows).astype(np.float64)
