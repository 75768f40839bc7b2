"""The scores of all cases, brought together as ``metrics.json`` states them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffseg.metrics import (
    CalibrationCounts,
    ErrorRanking,
    bootstrap_interval,
    interval_coverage,
    mean_defined,
)
from diffseg.metrics.ranking import DECADES
from diffseg_training.case_score import CaseScore
from diffseg_training.resampling import (
    RESAMPLES,
    SEED,
    group_draws,
    percentile_interval,
    resampled_auroc,
    resampled_ece,
)

STRUCTURE_SCORES = ("dice", "iou", "hd95_mm", "nsd_2mm")


def summarise(scores: Sequence[CaseScore], ranking: ErrorRanking) -> dict[str, Any]:
    """Means, intervals over groups, calibration and ranking of one model.

    Parameters
    ----------
    scores : sequence of CaseScore, one or more
    ranking : ErrorRanking
        Summed over all cases, in full resolution.
    """
    names = tuple(scores[0].dice)
    pooled = sum((s.calibration for s in scores), CalibrationCounts())
    box = sum((s.calibration_box for s in scores), CalibrationCounts())
    volumes = [s.volumes_ml[name] for s in scores for name in s.volumes_ml]
    mean = _means(scores, names, lambda score, name: True)
    expected = [dice for s in scores for dice in s.expected_dice.values()]
    return {
        "cases": [score.as_json() for score in scores],
        "mean": mean,
        "mean_positive": _means(scores, names, lambda s, name: name in s.present),
        "ci95": _intervals(scores, names),
        "dice_macro": mean_defined(list(mean["dice"].values())),
        "dice_foreground": mean_defined([s.dice_foreground for s in scores]),
        "ece_pooled": pooled.ece,
        "ece_foreground_box": box.ece,
        "reliability": pooled.reliability,
        "member_pairwise_dice": mean_defined(expected),
        "uncertainty_error_auroc": ranking.auroc,
        "uncertainty_error": error_by_uncertainty(ranking),
        "volume_interval_coverage": interval_coverage(*_columns(volumes)),
        "seconds_per_case": mean_defined([s.seconds for s in scores]),
        "n_cases": len(scores),
        "n_groups": len({score.group for score in scores}),
    }


def error_by_uncertainty(ranking: ErrorRanking) -> list[list[float | int | None]]:
    """Share of wrong voxels in ten equal bins of uncertainty.

    Returns
    -------
    list of [centre of the bin, share of wrong voxels or None, voxels]
    """
    share = (np.arange(ranking.wrong.size) + 0.5) / ranking.wrong.size
    bins = np.minimum((10 ** ((share - 1) * DECADES) * 10).astype(np.intp), 9)
    wrong = np.bincount(bins, weights=ranking.wrong, minlength=10)
    total = wrong + np.bincount(bins, weights=ranking.right, minlength=10)
    return [
        [round(0.05 + 0.1 * i, 2), float(w / n) if n else None, int(n)]
        for i, (w, n) in enumerate(zip(wrong, total, strict=True))
    ]


def structure_values(
    scores: Sequence[CaseScore], score: str, name: str
) -> list[float | None]:
    """One structure's `score` ("dice", "iou", "hd95_mm", "nsd_2mm") case by case."""
    return [getattr(case, score)[name] for case in scores]


def _means(
    scores: Sequence[CaseScore],
    names: Sequence[str],
    counts: Callable[[CaseScore, str], bool],
) -> dict[str, dict[str, float | None]]:
    return {
        kind: {
            name: mean_defined(
                [getattr(s, kind)[name] for s in scores if counts(s, name)]
            )
            for name in names
        }
        for kind in STRUCTURE_SCORES
    }


def _intervals(scores: Sequence[CaseScore], names: Sequence[str]) -> dict[str, Any]:
    groups = [score.group for score in scores]
    n_groups, draws = len(set(groups)), group_draws(scores)

    def interval(values: Sequence[float | None]) -> tuple[float, float] | None:
        return bootstrap_interval(values, groups, RESAMPLES, SEED)

    return {
        "dice": {
            name: interval(structure_values(scores, "dice", name)) for name in names
        },
        "dice_macro": interval([score.dice_macro for score in scores]),
        "dice_foreground": interval([score.dice_foreground for score in scores]),
        "ece_pooled": percentile_interval(
            resampled_ece(scores, draws, box=False), n_groups
        ),
        "ece_foreground_box": percentile_interval(
            resampled_ece(scores, draws, box=True), n_groups
        ),
        "uncertainty_error_auroc": percentile_interval(
            resampled_auroc(scores, draws), n_groups
        ),
    }


def _columns(
    volumes: Sequence[tuple[float | None, float | None, float | None]],
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    return (
        [volume for volume, _, _ in volumes],
        [low for _, low, _ in volumes],
        [high for _, _, high in volumes],
    )
