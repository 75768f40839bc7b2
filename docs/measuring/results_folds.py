"""Vessels by patient: the folds of one method as one, and against two raters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diffseg.metrics.intervals import bootstrap_interval

RUNS = {
    "chasedb1-ensemdiff, five steps": "chasedb1-ensemdiff-{}",
    "the same, one step": "chasedb1-ensemdiff-{}-5x1",
}
"""Rows of the table, and the cell of each fold."""
TITLES = (
    "run",
    "folds",
    "Dice with rater 1",
    "Dice with rater 2",
    "Dice between raters",
    "energy distance",
    "diversity of members",
    "diversity of raters",
    "AUROC of disagreement",
    "ECE",
)


def pooled_folds(found: Mapping[str, Any], folds: int) -> Iterator[str]:
    """The lines of the table; intervals are bootstraps over patients."""
    yield f"| {' | '.join(TITLES)} |"
    yield f"|{'---|' * len(TITLES)}"
    for run, name in RUNS.items():
        names = [name.format(fold) for fold in range(folds)]
        mine = [found[name]["val"] for name in names if name in found]
        if not mine:
            yield f"| {run} | 0 of {folds} |" + " |" * (len(TITLES) - 2)
            continue
        cases = [case for one in mine for case in one["cases"]]
        told = [run, f"{len(mine)} of {folds}", *_columns(cases, mine)]
        yield f"| {' | '.join(told)} |"


def _columns(cases: Sequence[Any], folds: Sequence[Any]) -> Iterator[str]:
    groups = [case["group"] for case in cases]

    def told(values: Sequence[float]) -> str:
        mean, ends = sum(values) / len(values), bootstrap_interval(values, groups)
        return f"{mean:.3f}" + (f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else "")

    raters = [case["raters"] for case in cases]
    for index in range(2):
        yield told([_only(one["proposal_dice"][index]) for one in raters])
    yield told([_only(one["rater_dice"]) for one in raters])
    for name in ("distance", "member_diversity", "rater_diversity"):
        yield f"{_mean(_only(one['raters'][name]) for one in folds):.4f}"
    each = [one["raters"]["uncertainty_disagreement_auroc"] for one in folds]
    yield f"{_mean(each):.3f} (folds {min(each):.3f}-{max(each):.3f})"
    yield f"{_mean(one['ece']['top_label']['pooled'] for one in folds):.4f}"


def _only(tree: Mapping[str, float]) -> float:
    (value,) = tree.values()
    return value


def _mean(values: Any) -> float:
    every = list(values)
    return sum(every) / len(every)
