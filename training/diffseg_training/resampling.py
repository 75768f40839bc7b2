"""Intervals of pooled scores: groups are drawn again, their sums added up.

`diffseg.metrics.bootstrap_interval` resamples means over cases. A calibration
error and an AUROC are no means: each is a function of sums over voxels, which
are added up anew for every resample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffseg_training.case_score import CaseScore

RESAMPLES = 1000
SEED = 0
Interval = tuple[float, float]
Floats = NDArray[np.float64]


def group_draws(scores: Sequence[CaseScore]) -> Floats:
    """How often each case stands in each resample of whole groups.

    Returns
    -------
    (1000, N) float64 ndarray
        The same for every sequence of the same groups, so that two models are
        resampled in pairs.
    """
    names = {group: i for i, group in enumerate(dict.fromkeys(s.group for s in scores))}
    drawn = np.random.default_rng(SEED).integers(0, len(names), (RESAMPLES, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return counts[:, [names[score.group] for score in scores]].astype(np.float64)


def resampled_ece(scores: Sequence[CaseScore], draws: Floats, box: bool) -> Floats:
    """Expected calibration error of each resample, NaN without a voxel.

    Parameters
    ----------
    scores : sequence of N CaseScore
    draws : (R, N) float64 ndarray
        See `group_draws`.
    box : bool
        Inside the widened box of both masks, rather than over the grid.
    """
    parts = [s.calibration_box if box else s.calibration for s in scores]
    gaps = np.stack([part.hits - part.confidences for part in parts])  # (N, 10)
    counts = np.array([part.counts.sum() for part in parts])
    with np.errstate(invalid="ignore"):
        ece: Floats = np.abs(draws @ gaps).sum(axis=1) / (draws @ counts)
    return ece


def resampled_auroc(scores: Sequence[CaseScore], draws: Floats) -> Floats:
    """Return the AUROC of uncertainty for errors of each resample.

    (R,) float64 ndarray, NaN without a wrong or without a right voxel.
    """
    wrong = draws @ np.stack([s.ranking.wrong for s in scores]).astype(np.float64)
    right = draws @ np.stack([s.ranking.right for s in scores]).astype(np.float64)
    below = np.cumsum(right, axis=1) - right
    wins = (wrong * (below + 0.5 * right)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        auroc: Floats = wins / (wrong.sum(axis=1) * right.sum(axis=1))
    return auroc


def percentile_interval(values: Floats, groups: int) -> Interval | None:
    """95 % interval of resampled values; None with fewer than two groups."""
    defined = values[np.isfinite(values)]
    if groups < 2 or not defined.size:
        return None
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)
