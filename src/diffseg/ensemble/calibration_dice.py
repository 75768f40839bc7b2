"""The map to the real Dice, judged like the calibration: with patients held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.calibration_evidence import Evidence, folds_of
from diffseg.ensemble.expected import expected_structures
from diffseg.ensemble.expected_map import (
    LEAST_CASES,
    DiceMap,
    fit_dice_map,
    log_odds,
    predict_dice,
)

Floats = NDArray[np.floating[Any]]

RESAMPLES = 500


def held_out_dice_map(
    evidence: Sequence[Evidence],
    probability: Sequence[Floats],
    agreement: Floats | None,
    names: Sequence[str],
    folds: int,
    seed: int,
) -> tuple[DiceMap | None, dict[str, Any] | None]:
    """Fit the map from expected to real Dice, and say how well it predicts.

    Parameters
    ----------
    evidence : sequence of Evidence
    probability : sequence of (K, N) ndarrays
        Calibrated without the case's patient.
    agreement : (N, C) ndarray or None
        Mean Dice between pairs of members; None with one member.
    names : sequence of str
        Of the C structures.
    folds, seed : int
        As those of the calibration.

    Returns
    -------
    DiceMap and figures; None and None with one member, or with fewer than eight
    cases. Figures: for each structure correlations of the real Dice with what is
    predicted without the patient, with `expected_dice` alone (``soft``) and with the
    members' agreement alone (``members``); the mean absolute error; and the share of
    cases within the interval.
    """
    if agreement is None or len(evidence) < LEAST_CASES:
        return None, None
    soft, real = _expected(evidence, probability)
    value, low, high = (np.empty_like(real) for _ in range(3))
    residuals = np.empty_like(real)
    for fold in folds_of(evidence, folds, np.random.default_rng(seed)):
        rest = np.setdiff1d(np.arange(len(real)), fold)
        known = fit_dice_map(soft[rest], agreement[rest], real[rest])
        for i in fold:
            for k in range(real.shape[1]):
                found = predict_dice(known, k, soft[i, k], float(agreement[i, k]))
                assert found is not None
                value[i, k], low[i, k], high[i, k] = found.value, found.low, found.high
        residuals[fold] = log_odds(real[fold]) - log_odds(value[fold])
    groups = np.unique([one.group for one in evidence], return_inverse=True)[1]
    figures: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(names):
        sources = {"predicted": value, "soft": soft, "members": agreement}
        figures[name] = {
            kind: correlations(one[:, k], real[:, k], groups, seed)
            for kind, one in sources.items()
        }
        error = np.abs(value[:, k] - real[:, k])
        inside = (real[:, k] >= low[:, k]) & (real[:, k] <= high[:, k])
        figures[name] |= {
            "mean_absolute_error": float(error.mean()),
            "covered": float(inside.mean()),
        }
    return fit_dice_map(soft, agreement, real, residuals.ravel().tolist()), figures


def correlations(
    told: Floats, real: Floats, groups: NDArray[np.integer[Any]], seed: int
) -> dict[str, Any]:
    """Spearman's and Pearson's correlation with 95 % intervals over groups.

    Parameters
    ----------
    told, real : (N,) ndarrays
    groups : (N,) integer ndarray
        Group of each case; whole groups are resampled, and cases keep their ranks.
    seed : int
        Of the resampling.

    Returns
    -------
    dict of ``spearman``, ``pearson`` and ``..._ci95``; None where one side is constant,
    and intervals where there is one group.
    """
    from scipy.stats import rankdata

    _, which = np.unique(groups, return_inverse=True)
    count = int(which.max()) + 1
    draws = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1 / count), size=RESAMPLES
    )
    result: dict[str, Any] = {}
    pairs = {"spearman": (rankdata(told), rankdata(real)), "pearson": (told, real)}
    for kind, (a, b) in pairs.items():
        found = float(_pearson(a, b, np.ones((1, len(a))))[0])
        result[kind] = None if np.isnan(found) else found
        values = _pearson(a, b, draws[:, which].astype(np.float64))
        values = values[np.isfinite(values)]
        enough = count > 1 and len(values) > RESAMPLES / 2
        ends = np.quantile(values, [0.025, 0.975]).tolist() if enough else None
        result[f"{kind}_ci95"] = ends
    return result


def _pearson(a: Floats, b: Floats, weights: Floats) -> NDArray[np.float64]:
    """Correlation under each row of weights (R, N); NaN where a side is constant."""
    share = weights / weights.sum(axis=1, keepdims=True)
    left, right = (one - (share @ one)[:, None] for one in (a, b))
    both, first, second = (
        (share * one).sum(axis=1) for one in (left * right, left**2, right**2)
    )
    spread = np.sqrt(first * second)
    found: NDArray[np.float64] = np.divide(
        both, spread, out=np.full_like(both, np.nan), where=spread > 1e-12
    )
    return found


def _expected(
    evidence: Sequence[Evidence], probability: Sequence[Floats]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected and real Dice (N, C) of what is likeliest in each case."""
    soft, real = [], []
    for one, p in zip(evidence, probability, strict=True):
        classes = p.argmax(axis=0).astype(np.uint8)
        soft.append(expected_structures(p[1:], classes, one.counts))
        real.append(one.dice(classes))
    return np.array(soft), np.array(real)
