"""The scores of all cases, brought together as ``metrics.json`` states them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from diffseg.metrics import (
    CalibrationCounts,
    Confusion,
    ErrorRanking,
    interval_coverage,
    mean_defined,
    spread_of,
)
from diffseg.metrics.ranking import uncertainty_of
from diffseg_training.case_score import CaseScore
from diffseg_training.case_trust import Rankings
from diffseg_training.evaluation_statistics import (
    STRUCTURE_SCORES,
    Tree,
    mapped,
    statistics_of,
)

SeedCounts = Mapping[int, Sequence[Mapping[str, Confusion]]]
"""For each seed, case by case, the voxels of each structure."""
COVERAGES = np.linspace(0.01, 1, 100)


def summarise(scores: Sequence[CaseScore], rankings: Rankings) -> dict[str, Any]:
    """Means, intervals over groups, calibration, ranking and raters of one model.

    Parameters
    ----------
    scores : sequence of CaseScore, one or more
    rankings : Rankings
        Summed over all cases, in full resolution.
    """
    names = tuple(scores[0].counts)
    groups = [score.group for score in scores]
    statistics = statistics_of(scores)
    values = mapped(statistics, lambda one: one.value)
    expected = [dice for s in scores for dice in s.expected_dice.values()]
    grids = [score.grid for score in scores]
    return {
        "cases": [score.as_json() for score in scores],
        "mean": {kind: values[kind] for kind in STRUCTURE_SCORES},
        "mean_positive": _means(scores, names, lambda s, name: name in s.present),
        "ci95": mapped(statistics, lambda one: one.interval(groups)),
        **{kind: values[kind] for kind in ("dice_macro", "iou_macro")},
        "dice_foreground": values["dice_foreground"],
        "averages": values["averages"],
        "ece_pooled": values["ece_pooled"],
        "ece_foreground_box": values["ece_foreground_box"],
        "ece": values["ece"],
        "reliability": _pooled([trust.top_label for trust in grids]).reliability,
        "reliability_binary": {
            name: _pooled([trust.binary[name] for trust in grids]).reliability
            for name in names
        },
        "member_pairwise_dice": mean_defined(expected),
        "uncertainty_error_auroc": rankings.grid.auroc,
        "uncertainty_error": error_by_uncertainty(rankings.grid),
        "risk_coverage": {"grid": _risk(rankings.grid), "box": _risk(rankings.box)},
        "raters": _raters(scores, rankings.raters, values),
        "volume_interval_coverage": _coverage(scores),
        "seconds_per_case": mean_defined([s.seconds for s in scores]),
        "n_cases": len(scores),
        "n_groups": len(set(groups)),
    }


def error_by_uncertainty(ranking: ErrorRanking) -> list[list[float | int | None]]:
    """Share of wrong voxels in ten equal bins of uncertainty.

    Returns
    -------
    list of [centre of the bin, share of wrong voxels or None, voxels]
    """
    size = ranking.wrong.size
    bins = np.minimum((uncertainty_of(np.arange(size), size) * 10).astype(np.intp), 9)
    wrong = np.bincount(bins, weights=ranking.wrong, minlength=10)
    total = wrong + np.bincount(bins, weights=ranking.right, minlength=10)
    return [
        [round(0.05 + 0.1 * i, 2), float(w / n) if n else None, int(n)]
        for i, (w, n) in enumerate(zip(wrong, total, strict=True))
    ]


def stability(counts: SeedCounts, groups: Sequence[str]) -> dict[str, Any]:
    """How much mean Dice and IoU move when nothing but the noise is another.

    Parameters
    ----------
    counts : mapping of seed to cases
        Two seeds or more, of the same cases in the same order.
    groups : sequence of str
        Group of each case.

    Returns
    -------
    dict
        ``seeds``, and for ``dice`` and ``iou`` each structure's
        ``{"values", "mean", "std", "std_ci95", "case_std"}``: the mean over cases
        under each seed, mean and standard deviation (over one less than the seeds)
        of these, its interval over groups, and the mean over cases of each case's
        own standard deviation.
    """
    names = next(iter(counts.values()))[0]
    result: dict[str, Any] = {"seeds": list(counts)}
    for kind in ("dice", "iou"):
        result[kind] = {}
        for name in names:
            columns = [[getattr(c[name], kind) for c in cs] for cs in counts.values()]
            values = np.array(columns, dtype=np.float64).T
            spread = spread_of(values)
            result[kind][name] = {
                "values": values.mean(axis=0).tolist(),
                "mean": float(values.mean()),
                "std": spread.value,
                "std_ci95": spread.interval(groups),
                "case_std": float(values.std(axis=1, ddof=1).mean()),
            }
    return result


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


def _pooled(parts: Sequence[CalibrationCounts]) -> CalibrationCounts:
    return sum(parts, CalibrationCounts())


def _risk(ranking: ErrorRanking) -> dict[str, Any] | None:
    """Risk and coverage of one place; None where it holds no voxel."""
    risk = ranking.risk
    if risk is None:
        return None
    curve = np.stack([COVERAGES, risk.at(COVERAGES)], axis=1)
    return {
        "auroc": ranking.auroc,
        "aurc": risk.aurc,
        "ideal": risk.ideal,
        "excess": risk.excess,
        "excess_share": risk.excess_share,
        "error_rate": risk.error_rate,
        "curve": [[round(c, 4), float(r)] for c, r in curve.tolist()],
    }


def _raters(
    scores: Sequence[CaseScore], ranking: ErrorRanking, values: Tree
) -> dict[str, Any] | None:
    if "raters" not in values:
        return None
    several = [score.raters for score in scores if score.raters is not None]
    return {
        "n_cases": len(several),
        "n_raters": max(len(score.with_raters) for score in several),
        **values["raters"],
        "uncertainty_disagreement_auroc": ranking.auroc,
    }


def _coverage(scores: Sequence[CaseScore]) -> float | None:
    volumes = [volume for score in scores for volume in score.volumes_ml.values()]
    return interval_coverage(
        [volume for volume, _, _ in volumes],
        [low for _, low, _ in volumes],
        [high for _, _, high in volumes],
    )
