"""From voxels whose class is known to a calibration that is better, or to a refusal.

Patients are held out in turn, so that every figure "after" is of patients that the
calibration did not see. What does not lower their negative log-likelihood is refused.
The same for a data set's reference masks and for corrections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.calibration import Calibration
from diffseg.ensemble.calibration_dice import held_out_dice_map
from diffseg.ensemble.calibration_evidence import Evidence
from diffseg.ensemble.calibration_fit import fit_isotonic, fit_temperature
from diffseg.ensemble.calibration_score import Judgement, cross_fitted, judge
from diffseg.errors import UserError
from diffseg.metrics import paired_interval

METHODS = ("temperature", "temperatures", "isotonic")
"""One temperature, one a class, or a monotone table a structure."""
FOLDS = 5
# More freedom must pay: one temperature changes no mask, and is kept where another
# method is better by less than this share.
_WORTH = 0.005
# Held-out Dice that `auto` would not give away for better probabilities.
_TOLERANCE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to calibrate.

    Parameters
    ----------
    names : tuple of str
        Of the structures.
    members, steps : int
        Of the proposals.
    method : str
        One of `METHODS`, or ``auto``: the best of them with patients held out.
    folds : int
        Patients are held out in so many parts.
    seed : int
        Draws which patients go together.
    about : mapping
        Of the data: what the card shall tell.
    """

    names: tuple[str, ...]
    members: int
    steps: int
    method: str = "auto"
    folds: int = FOLDS
    seed: int = 0
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A calibration, and every figure that it was judged by."""

    calibration: Calibration
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """One method with patients held out."""

    method: str
    probability: list[NDArray[np.float32]]
    judged: Judgement

    @property
    def dice(self) -> float:
        return float(self.judged.dice.mean())


def calibrate(
    evidence: Sequence[Evidence],
    plan: Plan,
    agreement: NDArray[np.floating[Any]] | None = None,
) -> Calibrated:
    """Fit a calibration, and judge it with patients held out.

    Parameters
    ----------
    evidence : sequence of Evidence
        Of two patients or more.
    plan : Plan
    agreement : (N, C) ndarray, optional
        Mean Dice between pairs of members, of each case and structure; with it the
        real Dice is predicted, too.

    Raises
    ------
    UserError
        One patient only, nothing reviewed, or a calibration that does not lower the
        negative log-likelihood of patients held out.
    """
    some = [i for i, one in enumerate(evidence) if len(one.reference)]
    evidence = [evidence[i] for i in some]
    agreement = None if agreement is None else agreement[some]
    _check(evidence, plan)
    before = judge(evidence, [one.probability for one in evidence])
    methods = METHODS if plan.method == "auto" else (plan.method,)
    trials = [_tried(evidence, plan, method) for method in methods]
    best = _best(trials, before, plan)
    dice, correlations = held_out_dice_map(
        evidence, best.probability, agreement, plan.names, plan.folds, plan.seed
    )
    found = _fitted(evidence, plan, best.method)
    figures = _figures(evidence, plan, before, best, trials)
    figures["predicted_dice"] = correlations
    told = {**plan.about, **_brief(figures)}
    whole = found.model_copy(update={"predicted_dice": dice, "fitted": told})
    return Calibrated(whole, figures)


def _check(evidence: Sequence[Evidence], plan: Plan) -> None:
    if plan.method not in ("auto", *METHODS):
        raise UserError(
            f"method {plan.method!r} is not one of auto, {', '.join(METHODS)}"
        )
    groups = {one.group for one in evidence}
    if len(groups) < 2:
        raise UserError(
            f"{len(groups)} patient{'s' * (len(groups) != 1)} with a reference; a "
            "calibration is judged on patients held out and needs two or more"
        )


def _tried(evidence: Sequence[Evidence], plan: Plan, method: str) -> _Trial:
    held_out = cross_fitted(
        evidence,
        lambda some: _fitted(some, plan, method),
        plan.folds,
        np.random.default_rng(plan.seed),
    )
    return _Trial(method, held_out, judge(evidence, held_out))


def _fitted(evidence: Sequence[Evidence], plan: Plan, method: str) -> Calibration:
    if method == "isotonic":
        return Calibration(
            kind="isotonic",
            knots=fit_isotonic(evidence),
            members=plan.members,
            steps=plan.steps,
        )
    return Calibration(
        kind="temperature",
        temperatures=fit_temperature(evidence, each_class=method == "temperatures"),
        members=plan.members,
        steps=plan.steps,
    )


def _best(trials: Sequence[_Trial], before: Judgement, plan: Plan) -> _Trial:
    """The method to keep; the first of `METHODS` unless another is worth it."""
    better = [one for one in trials if one.judged.loss < before.loss]
    if not better:
        least = min(trials, key=lambda one: one.judged.loss)
        raise UserError(
            "calibration refused: of patients held out the negative log-likelihood "
            f"went from {before.loss:.5f} to {least.judged.loss:.5f} ({least.method}); "
            "the model stays as it is, more patients may help"
        )
    if plan.method == "auto":
        least_dice = float(before.dice.mean()) - _TOLERANCE
        better = [one for one in better if one.dice >= least_dice] or better
    best = better[0]
    for one in better[1:]:
        if one.judged.loss < best.judged.loss * (1 - _WORTH):
            best = one
    return best


def _figures(
    evidence: Sequence[Evidence],
    plan: Plan,
    before: Judgement,
    best: _Trial,
    trials: Sequence[_Trial],
) -> dict[str, Any]:
    groups = [one.group for one in evidence]
    after = best.judged
    interval = paired_interval(list(after.losses), list(before.losses), groups)
    return {
        "method": best.method,
        "cases": len(evidence),
        "groups": len(set(groups)),
        "folds": min(plan.folds, len(set(groups))),
        "voxels": int(sum(len(one.reference) for one in evidence)),
        "loss": [before.loss, after.loss],
        "loss_change_ci95": None if interval is None else list(interval),
        "before": _as_json(before, plan.names),
        "after": _as_json(after, plan.names),
        "methods": {
            one.method: {"loss": one.judged.loss, "dice": one.dice} for one in trials
        },
    }


def _as_json(judged: Judgement, names: Sequence[str]) -> dict[str, Any]:
    means = judged.dice.mean(axis=0).tolist()
    return {
        "image": judged.image.as_json(),
        "box": None if judged.box is None else judged.box.as_json(),
        "dice": dict(zip(names, means, strict=True)),
    }


def _brief(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the card tells: pairs before and after, of patients held out."""
    sides = [figures["before"], figures["after"]]
    place = "image" if sides[0]["box"] is None else "box"
    told: dict[str, Any] = {
        "cases": figures["cases"],
        "groups": figures["groups"],
        "held_out": True,
        "ece_pooled": [side["image"]["ece"] for side in sides],
    }
    for key in ("nll", "brier", "ece"):
        told[f"{key}_{place}"] = [side[place][key] for side in sides]
    return told
