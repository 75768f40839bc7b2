"""Fit a calibration to voxels whose class is known: temperatures, monotone tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.calibration import Knots
from diffseg.ensemble.calibration_evidence import Evidence, weights_of

Floats = NDArray[np.floating[Any]]

FLOOR = 1e-7
"""Probability below which a voxel's likelihood is not told apart."""
COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures that are looked at."""
MOST_KNOTS = 33
# Probabilities that differ by less than this in their logit are one to a table.
_BINS_A_NAT = 50


def fit_temperature(
    evidence: Sequence[Evidence], each_class: bool = False
) -> tuple[float, ...]:
    """Find the temperatures of least weighted negative log-likelihood.

    One: golden section with parabolas (Brent) over its logarithm; one a class: L-BFGS
    over the inverse temperatures, in which the likelihood is convex.

    Parameters
    ----------
    evidence : sequence of Evidence
        With one voxel or more.
    each_class : bool
        One for each class, background first, in place of one for all.

    Returns
    -------
    tuple of float in [0.05, 20]
    """
    from scipy.optimize import minimize, minimize_scalar

    logs, reference, weights = _stacked(evidence)
    at = (reference, np.arange(len(reference)))

    def loss(inverse: Floats) -> tuple[float, NDArray[np.float64]]:
        scores = logs * inverse[:, None]
        scores -= scores.max(axis=0)
        shares = np.exp(scores)
        total = shares.sum(axis=0)
        value = float(weights @ (np.log(total) - scores[at]))
        shares /= total
        shares[at] -= 1
        return value, np.einsum("kn,kn,n->k", shares, logs, weights)

    ends = (1 / HOTTEST, 1 / COLDEST)
    one = minimize_scalar(
        lambda log: loss(np.full(len(logs), np.exp(log)))[0],
        bounds=np.log(ends),
        method="bounded",
        options={"xatol": 1e-4},
    )
    best = float(np.exp(one.x))
    if not each_class:
        return (1 / best,)
    start = np.full(len(logs), best)
    bounds = [ends] * len(logs)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return tuple(float(1 / inverse) for inverse in found.x)


def fit_isotonic(evidence: Sequence[Evidence]) -> tuple[Knots, ...]:
    """Find each structure's monotone table of least weighted squared error.

    Parameters
    ----------
    evidence : sequence of Evidence

    Returns
    -------
    tuple of knots, one a structure; see `knots_of`.
    """
    weights = np.concatenate(weights_of(evidence))
    reference = np.concatenate([one.reference for one in evidence])
    # As many as voxels: what a block of them weighs is then told in voxels.
    scale = sum(float(one.counts.sum()) for one in evidence)
    found = []
    for index in range(1, len(evidence[0].probability)):
        p = np.concatenate([one.probability[index] for one in evidence])
        found.append(knots_of(p, reference == index, weights * scale))
    return tuple(found)


def isotonic(
    p: Floats, hit: Floats | NDArray[np.bool_], weights: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Regress hits on probabilities by a function that never falls.

    Pool adjacent violators, by SciPy. Equal probabilities are one point.

    Parameters
    ----------
    p, hit, weights : (N,) ndarrays
        Weights above 0.

    Returns
    -------
    points, values, weights : (B,) float64 ndarrays
        Of each block of equal values: the mean of its probabilities, the value, and
        its weight; both rise.
    """
    from scipy.optimize import isotonic_regression

    points, which = np.unique(p, return_inverse=True)
    mass = np.bincount(which, weights=weights)
    mean = np.bincount(which, weights=weights * hit) / mass
    fitted = isotonic_regression(mean, weights=mass)
    blocks = np.repeat(np.arange(len(fitted.blocks) - 1), np.diff(fitted.blocks))
    weight = np.bincount(blocks, weights=mass).astype(np.float64)
    middle: NDArray[np.float64] = np.bincount(blocks, weights=mass * points) / weight
    values: NDArray[np.float64] = fitted.x[fitted.blocks[:-1]]
    return middle, values, weight


def knots_of(
    p: Floats,
    hit: Floats | NDArray[np.bool_],
    weights: Floats,
    most: int = MOST_KNOTS,
) -> Knots:
    """Make a short table of `isotonic`, from (0, 0) to (1, 1).

    Each block counts one more voxel of the mean frequency, so that none says 0 or 1;
    neighbours that differ least (Ward, 1963) are merged until the table is short.

    Parameters
    ----------
    p, hit, weights : (N,) ndarrays
        Weights in voxels.
    most : int
        Knots, both ends included; 3 or more.
    """
    odds = np.log(np.clip(p, FLOOR, 1) / np.clip(1 - p, FLOOR, 1))
    bins = np.round(odds * _BINS_A_NAT)
    _, which = np.unique(bins, return_inverse=True)
    mass = np.bincount(which, weights=weights).astype(np.float64)
    some = mass > 0
    middle = np.bincount(which, weights=weights * p)[some] / mass[some]
    mean = np.bincount(which, weights=weights * hit)[some] / mass[some]
    x, y, w = isotonic(middle, mean, mass[some])
    usual = float(w @ y / w.sum())
    y = (w * y + usual) / (w + 1)
    while len(x) > most - 2:
        cost = np.diff(y) ** 2 * w[1:] * w[:-1] / (w[1:] + w[:-1])
        i = int(cost.argmin())
        pair, total = slice(i, i + 2), w[i] + w[i + 1]
        merged = [w[pair] @ x[pair] / total, w[pair] @ y[pair] / total, total]
        x, y, w = (
            np.concatenate([one[:i], [new], one[i + 2 :]])
            for one, new in zip((x, y, w), merged, strict=True)
        )
    y = np.maximum.accumulate(y)
    inner = (x > 0) & (x < 1)
    between = zip(x[inner].tolist(), y[inner].tolist(), strict=True)
    return ((0.0, 0.0), *between, (1.0, 1.0))


def _stacked(
    evidence: Sequence[Evidence],
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """Log-probabilities (K, N), references and weights of all cases."""
    p = np.concatenate([one.probability for one in evidence], axis=1)
    logs = np.log(np.maximum(p, FLOOR, dtype=np.float64))
    reference = np.concatenate([one.reference for one in evidence])
    return logs, reference, np.concatenate(weights_of(evidence))
