"""Every number of a split that has an interval, as a tree of statistics.

``metrics.json`` holds the same tree three times: as values, as intervals (``ci95``),
and, of two models, as paired differences (``comparison``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from diffseg.metrics import (
    AVERAGES,
    CalibrationCounts,
    ErrorRanking,
    Statistic,
    aurc_of,
    auroc_of,
    averages,
    ece_of,
    excess_of,
    mean_of,
)
from diffseg_training.case_raters import RaterScore
from diffseg_training.case_score import SURFACES, CaseScore
from diffseg_training.case_trust import Trust

STRUCTURE_SCORES = ("dice", "iou", *SURFACES)
Tree = dict[str, Any]
"""Statistics by name, in trees of any depth."""


def statistics_of(scores: Sequence[CaseScore]) -> Tree:
    """Statistics of one model's scores.

    Parameters
    ----------
    scores : sequence of CaseScore, one or more
    """
    names = tuple(scores[0].counts)
    grids, boxes = [s.grid for s in scores], [s.box for s in scores]
    tree: Tree = {
        kind: {name: mean_of(structure_values(scores, kind, name)) for name in names}
        for kind in STRUCTURE_SCORES
    }
    for kind in ("dice_macro", "iou_macro", "dice_foreground"):
        tree[kind] = mean_of([getattr(score, kind) for score in scores])
    tree |= {
        "averages": {
            "dice": _averages(scores, "dice"),
            "iou": _averages(scores, "iou"),
        },
        "ece_pooled": ece_of([trust.top_label for trust in grids]),
        "ece_foreground_box": ece_of([trust.top_label for trust in boxes]),
        "ece": {
            "top_label": _ece(
                [t.top_label for t in grids], [t.top_label for t in boxes]
            ),
            "binary": _binary(names, grids, boxes),
        },
        "uncertainty_error_auroc": auroc_of([trust.ranking for trust in grids]),
        "risk_coverage": {"grid": _risk(grids), "box": _risk(boxes)},
    }
    raters = [score.raters for score in scores]
    return tree | ({"raters": _raters(raters, names)} if any(raters) else {})


def structure_values(
    scores: Sequence[CaseScore], score: str, name: str
) -> list[float | None]:
    """One structure's `score` (of `STRUCTURE_SCORES`) case by case."""
    return [getattr(case, score)[name] for case in scores]


def mapped(tree: Tree, function: Callable[[Statistic], Any]) -> Tree:
    """Return the same tree with what `function` makes of each statistic."""
    return {
        name: mapped(branch, function) if isinstance(branch, dict) else function(branch)
        for name, branch in tree.items()
    }


def _averages(scores: Sequence[CaseScore], kind: Literal["dice", "iou"]) -> Tree:
    groups = [score.group for score in scores]
    found = {
        name: averages([score.counts[name] for score in scores], groups, kind)
        for name in scores[0].counts
    }
    return {
        average: {name: found[name][average] for name in found} for average in AVERAGES
    }


def _ece(
    grids: Sequence[CalibrationCounts], boxes: Sequence[CalibrationCounts]
) -> dict[str, Statistic]:
    return {
        "pooled": ece_of(grids),
        "image_mean": mean_of([counts.ece for counts in grids]),
        "box": ece_of(boxes),
    }


def _binary(
    names: Sequence[str], grids: Sequence[Trust], boxes: Sequence[Trust]
) -> Tree:
    found = {
        name: _ece([t.binary[name] for t in grids], [t.binary[name] for t in boxes])
        for name in names
    }
    kinds = ("pooled", "image_mean", "box")
    return {kind: {name: found[name][kind] for name in names} for kind in kinds}


def _risk(trusts: Sequence[Trust]) -> dict[str, Statistic]:
    rankings = [trust.ranking for trust in trusts]
    return {
        "auroc": auroc_of(rankings),
        "aurc": aurc_of(rankings),
        "excess": excess_of(rankings),
    }


def _raters(scores: Sequence[RaterScore | None], names: Sequence[str]) -> Tree:
    def each(value: Callable[[RaterScore], Mapping[str, float]]) -> Tree:
        found = [None if score is None else value(score) for score in scores]
        return {
            name: mean_of([None if one is None else one[name] for one in found])
            for name in names
        }

    def rater(index: int) -> Tree:
        return each(lambda score: score.with_raters[index])

    known = [score for score in scores if score is not None]
    nothing = ErrorRanking(*[np.zeros_like(known[0].ranking.wrong)] * 2)
    rankings = [nothing if score is None else score.ranking for score in scores]
    count = min(len(score.with_raters) for score in known)
    return {
        "ged2": each(lambda s: s.ged2),
        "distance": each(lambda s: {n: e.between for n, e in s.energy.items()}),
        "member_diversity": each(lambda s: {n: e.members for n, e in s.energy.items()}),
        "rater_diversity": each(lambda s: {n: e.raters for n, e in s.energy.items()}),
        "rater_dice": each(lambda s: s.between_raters),
        "proposal_dice": {f"rater_{i + 1}": rater(i) for i in range(count)},
        "uncertainty_disagreement_auroc": auroc_of(rankings),
    }
