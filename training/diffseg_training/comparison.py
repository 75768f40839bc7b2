"""Two models on the same cases: differences in pairs, intervals over groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffseg.metrics import differences, mean_defined, paired_interval
from diffseg_training.case_score import CaseScore
from diffseg_training.evaluation_summary import STRUCTURE_SCORES, structure_values
from diffseg_training.resampling import (
    RESAMPLES,
    SEED,
    group_draws,
    percentile_interval,
    resampled_auroc,
    resampled_ece,
)

Values = Sequence[float | None]


def compare(
    ours: Sequence[CaseScore],
    theirs: Sequence[CaseScore],
    our_summary: dict[str, Any],
    their_summary: dict[str, Any],
) -> dict[str, Any]:
    """Differences "model minus compared", each with a 95 % interval over groups.

    Parameters
    ----------
    ours, theirs : sequences of CaseScore
        Of the same cases in the same order.
    our_summary, their_summary : dict
        See `diffseg_training.evaluation_summary.summarise`.

    Returns
    -------
    dict
        For each score ``{"model", "compared", "difference", "ci95"}``, in a
        mapping of structures where there is one for each. An interval above 0
        says that the model's number is the larger one; for ``ece`` and
        ``hd95_mm`` smaller is better.
    """
    if [s.case for s in ours] != [s.case for s in theirs]:
        raise ValueError("the two models were not evaluated on the same cases")
    groups = [score.group for score in ours]
    result: dict[str, Any] = {
        kind: {
            name: _paired(
                structure_values(ours, kind, name),
                structure_values(theirs, kind, name),
                groups,
            )
            for name in ours[0].dice
        }
        for kind in STRUCTURE_SCORES
    }
    for kind in ("dice_macro", "dice_foreground"):
        values = [[getattr(s, kind) for s in scores] for scores in (ours, theirs)]
        result[kind] = _paired(values[0], values[1], groups)
    return result | _pooled(ours, theirs, our_summary, their_summary)


def _paired(ours: Values, theirs: Values, groups: Sequence[str]) -> dict[str, Any]:
    return {
        "model": mean_defined(ours),
        "compared": mean_defined(theirs),
        # Over the cases where both are defined, unlike the two means.
        "difference": mean_defined(differences(ours, theirs)),
        "ci95": paired_interval(ours, theirs, groups, RESAMPLES, SEED),
    }


def _pooled(
    ours: Sequence[CaseScore],
    theirs: Sequence[CaseScore],
    our_summary: dict[str, Any],
    their_summary: dict[str, Any],
) -> dict[str, Any]:
    draws, n_groups = group_draws(ours), len({score.group for score in ours})
    resampled = {
        "ece_pooled": [resampled_ece(s, draws, box=False) for s in (ours, theirs)],
        "ece_foreground_box": [resampled_ece(s, draws, True) for s in (ours, theirs)],
        "uncertainty_error_auroc": [resampled_auroc(s, draws) for s in (ours, theirs)],
    }
    result = {}
    for kind, (our_draws, their_draws) in resampled.items():
        a, b = our_summary[kind], their_summary[kind]
        result[kind] = {
            "model": a,
            "compared": b,
            "difference": None if a is None or b is None else a - b,
            "ci95": percentile_interval(our_draws - their_draws, n_groups),
        }
    return result
