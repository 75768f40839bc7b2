"""Two models on the same cases: paired differences, intervals and tests over groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffseg.metrics import (
    Statistic,
    difference,
    mean_defined,
    paired_means,
    permutation_p,
    wilcoxon_p,
)
from diffseg_training.case_score import CaseScore
from diffseg_training.evaluation_statistics import (
    STRUCTURE_SCORES,
    Tree,
    statistics_of,
    structure_values,
)

Values = Sequence[float | None]


def compare(
    ours: Sequence[CaseScore],
    theirs: Sequence[CaseScore],
    our_summary: dict[str, Any],
    their_summary: dict[str, Any],
) -> dict[str, Any]:
    """Differences "model minus compared", each with an interval and tests over groups.

    Parameters
    ----------
    ours, theirs : sequences of CaseScore
        Of the same cases in the same order.
    our_summary, their_summary : dict
        See `diffseg_training.evaluation_summary.summarise`.

    Returns
    -------
    dict
        For each score ``{"model", "compared", "difference", "ci95",
        "p_permutation", "p_wilcoxon"}``, in trees as ``metrics.json`` has them. An
        interval above 0 says that the model's number is the larger one; for ``ece``,
        ``hd95_mm``, risk and ``ged2`` smaller is better. p_permutation is of the same
        difference, with the models' answers exchanged patient by patient;
        p_wilcoxon of the signed ranks of the patients' means, null for what is no
        mean over cases.
    """
    if [s.case for s in ours] != [s.case for s in theirs]:
        raise ValueError("the two models were not evaluated on the same cases")
    groups = [score.group for score in ours]
    result: dict[str, Any] = {
        kind: {
            name: _paired_means(
                structure_values(ours, kind, name),
                structure_values(theirs, kind, name),
                groups,
            )
            for name in ours[0].counts
        }
        for kind in STRUCTURE_SCORES
    }
    for kind in ("dice_macro", "iou_macro", "dice_foreground"):
        values = [[getattr(s, kind) for s in scores] for scores in (ours, theirs)]
        result[kind] = _paired_means(values[0], values[1], groups)
    images = [[s.grid.top_label.ece for s in scores] for scores in (ours, theirs)]
    result["ece_image_mean"] = _paired_means(images[0], images[1], groups)
    trees = statistics_of(ours), statistics_of(theirs)
    for kind in ("ece_pooled", "ece_foreground_box", "uncertainty_error_auroc"):
        known = our_summary[kind], their_summary[kind]
        result[kind] = _pooled(trees[0][kind], trees[1][kind], known, groups)
    for kind in ("averages", "ece", "risk_coverage", "raters"):
        if kind in trees[0] and kind in trees[1]:
            summaries = our_summary[kind], their_summary[kind]
            result[kind] = _branches(trees[0][kind], trees[1][kind], summaries, groups)
    return result


def _branches(
    ours: Tree, theirs: Tree, summaries: tuple[Any, Any], groups: Sequence[str]
) -> Tree:
    result: Tree = {}
    for name, branch in ours.items():
        a, b = (None if one is None else one[name] for one in summaries)
        if isinstance(branch, dict):
            result[name] = _branches(branch, theirs[name], (a, b), groups)
        else:
            result[name] = _pooled(branch, theirs[name], (a, b), groups)
    return result


def _paired_means(ours: Values, theirs: Values, groups: Sequence[str]) -> Tree:
    # The difference is over the cases where both are defined, unlike the two means.
    a, b = paired_means(ours, theirs)
    found = _tested(a, b, groups)
    return {
        "model": mean_defined(ours),
        "compared": mean_defined(theirs),
        **found,
        "p_wilcoxon": wilcoxon_p(ours, theirs, groups),
    }


def _pooled(
    ours: Statistic,
    theirs: Statistic,
    known: tuple[float | None, float | None],
    groups: Sequence[str],
) -> Tree:
    """Compare what is no mean; `known` are the numbers in full resolution."""
    a, b = known
    found = _tested(ours, theirs, groups)
    found["difference"] = None if a is None or b is None else a - b
    return {"model": a, "compared": b, **found, "p_wilcoxon": None}


def _tested(ours: Statistic, theirs: Statistic, groups: Sequence[str]) -> Tree:
    gain = difference(ours, theirs)
    return {
        "difference": gain.value,
        "ci95": gain.interval(groups),
        "p_permutation": permutation_p(ours, theirs, groups),
    }
