"""Means with intervals over groups, and how often an interval covers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from diffseg.metrics.statistic import Interval, Values, mean_of


def mean_defined(values: Values) -> float | None:
    """Mean of the values that are not None; None where there are none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def bootstrap_interval(
    values: Values,
    groups: Sequence[Hashable],
    n: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """95 % percentile interval of the mean, by resampling whole groups.

    Cases of one patient resemble each other: drawing groups rather than cases
    keeps the interval from being too narrow (cluster bootstrap; Davison &
    Hinkley, 1997).

    Parameters
    ----------
    values : sequence of float or None
        One value per case; None is left out.
    groups : sequence of hashables
        Group (patient) of each case.
    n : int
        Resamples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    (low, high), or None with fewer than two groups, which tell nothing about
    the spread between groups.

    Raises
    ------
    ValueError
        The two sequences differ in length.
    """
    return mean_of(values).interval(groups, n, seed)


def differences(a: Values, b: Values) -> list[float | None]:
    """``a - b`` case by case; None where either is None."""
    return [
        None if left is None or right is None else left - right
        for left, right in zip(a, b, strict=True)
    ]


def paired_interval(
    a: Values,
    b: Values,
    groups: Sequence[Hashable],
    n: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """95 % interval of the mean of ``a - b``, paired by case, over groups.

    See `bootstrap_interval`; a case in which either is None is left out.
    """
    return bootstrap_interval(differences(a, b), groups, n, seed)


def interval_coverage(values: Values, lows: Values, highs: Values) -> float | None:
    """Share of `values` that lie in their own ``[low, high]``.

    For volumes: one entry per case and structure, the reference's volume and
    the members' 5 % and 95 % quantiles. Entries with a None are left out; None
    where nothing is left.
    """
    covered: list[bool] = []
    for value, low, high in zip(values, lows, highs, strict=True):
        if value is None or low is None or high is None:
            continue
        slack = 1e-9 * abs(value)  # rounding, where the bound is the value itself
        covered.append(low - slack <= value <= high + slack)
    return float(np.mean(covered)) if covered else None
