"""Numbers of a whole split: their intervals and tests, over groups of cases.

A mean, a ratio of pooled voxels, a calibration error, an area under a curve: each is a
function of sums over cases. Whoever keeps the sums of each case can draw whole groups
(patients) anew, or exchange two models' answers patient by patient, and work out the
same number again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Values = Sequence[float | None]
Groups = Sequence[Hashable]
Interval = tuple[float, float]
RESAMPLES = 1000
SEED = 0
_EXACT = 13
"""Up to so many groups, every one of the ``2**groups`` exchanges is tried."""
_EXCHANGES = 9999
_AT_ONCE = 1000
"""Exchanges worked out together; what bounds the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A number that follows from sums over cases.

    Parameters
    ----------
    sums : (N, K) float64 ndarray
        What each case adds; a row of zeros for a case that says nothing.
    of : function of (R, K) float64 ndarrays
        Gives the number for each of R rows of sums, (R,), NaN where undefined.
    """

    sums: Floats
    of: Callable[[Floats], Floats]

    @property
    def value(self) -> float | None:
        """The number over all cases; None where it is undefined."""
        (number,) = self.of(self.sums.sum(axis=0, keepdims=True))
        return float(number) if np.isfinite(number) else None

    def interval(
        self, groups: Groups, n: int = RESAMPLES, seed: int = SEED
    ) -> Interval | None:
        """95 % percentile interval, by drawing whole groups anew.

        Cases of one patient resemble each other: drawing groups rather than cases
        keeps the interval from being too narrow (cluster bootstrap; Davison &
        Hinkley, 1997).

        Parameters
        ----------
        groups : sequence of N hashables
            Group (patient) of each case.
        n, seed : int
            Resamples, and the seed of the drawing.

        Returns
        -------
        (low, high), or None with fewer than two groups that say anything, which
        tell nothing about the spread between groups.

        Raises
        ------
        ValueError
            `groups` is not as long as there are cases.
        """
        rows = _by_group(self.sums, groups)
        if len(rows) < 2:
            return None
        drawn = np.random.default_rng(seed).integers(0, len(rows), (n, len(rows)))
        counts = np.zeros((n, len(rows)))
        np.add.at(counts, (np.arange(n)[:, None], drawn), 1)
        values = self.of(counts @ rows)
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        low, high = np.percentile(values, (2.5, 97.5))
        return float(low), float(high)


def ratio(over: Floats, under: Floats) -> Statistic:
    """``sum(over) / sum(under)``, of two (N,) arrays; undefined over 0."""
    return Statistic(np.stack([over, under], axis=1).astype(np.float64), _quotient)


def mean_of(values: Values, weights: Floats | None = None) -> Statistic:
    """Mean of the values that are not None, weighted where weights are given."""
    defined = np.array([value is not None for value in values], dtype=np.float64)
    numbers = np.array([value or 0.0 for value in values], dtype=np.float64)
    weights = defined if weights is None else defined * weights
    return ratio(numbers * weights, weights)


def spread_of(values: Floats) -> Statistic:
    """Standard deviation, over columns, of each column's mean over cases.

    Parameters
    ----------
    values : (N, S) float64 ndarray
        Of each case, under each of S seeds, two or more.

    Notes
    -----
    Divided by S - 1, as an estimate for seeds that were not tried.
    """

    def spread(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            means = sums[:, :-1] / sums[:, -1:]
        found: Floats = means.std(axis=1, ddof=1)
        return found

    return Statistic(np.column_stack([values, np.ones(len(values))]), spread)


def difference(a: Statistic, b: Statistic) -> Statistic:
    """``a - b`` of the same cases, which are drawn together."""
    width = a.sums.shape[1]
    return Statistic(
        np.concatenate([a.sums, b.sums], axis=1),
        lambda sums: a.of(sums[:, :width]) - b.of(sums[:, width:]),
    )


def paired_means(a: Values, b: Values) -> tuple[Statistic, Statistic]:
    """Return both means over the cases in which neither value is None."""
    both = [x is not None and y is not None for x, y in zip(a, b, strict=True)]
    ours, theirs = (
        mean_of([value if kept else None for value, kept in zip(v, both, strict=True)])
        for v in (a, b)
    )
    return ours, theirs


def permutation_p(
    a: Statistic, b: Statistic, groups: Groups, seed: int = SEED
) -> float | None:
    """Chance of a difference as large, if it did not matter which model answered.

    The answers of both models are exchanged, group by group, and the difference
    is worked out anew (paired permutation test, two-sided): every way of doing so
    with up to 13 groups, 9999 random ways else.

    Parameters
    ----------
    a, b : Statistic
        The same number of two models, of the same N cases.
    groups : sequence of N hashables
    seed : int
        Of the random exchanges.

    Returns
    -------
    float in (0, 1], or None with fewer than two groups, or where the difference
    is undefined.
    """
    observed = difference(a, b).value
    rows = _by_group(np.concatenate([a.sums, b.sums], axis=1), groups)
    if observed is None or len(rows) < 2:
        return None
    exact = len(rows) <= _EXACT
    if exact:
        ways = np.arange(2 ** len(rows))[:, None] >> np.arange(len(rows)) & 1
    else:
        ways = np.random.default_rng(seed).integers(0, 2, (_EXCHANGES, len(rows)))
    ours, theirs = np.split(rows, 2, axis=1)
    parts = []
    for some in np.array_split(ways, -(-len(ways) // _AT_ONCE)):
        moved = some.astype(np.float64) @ (theirs - ours)
        gained = a.of(ours.sum(axis=0) + moved) - b.of(theirs.sum(axis=0) - moved)
        parts.append(np.abs(gained))
    found = np.concatenate(parts)
    found = found[np.isfinite(found)]
    # Rounding must not turn a difference that is equal into one that is smaller.
    as_large = int((found >= abs(observed) - 1e-12 - 1e-9 * abs(observed)).sum())
    if exact:
        return as_large / len(found)
    return (as_large + 1) / (len(found) + 1)


def wilcoxon_p(a: Values, b: Values, groups: Groups) -> float | None:
    """Signed-rank test (Wilcoxon, 1945) of the groups' mean differences, two-sided.

    Returns
    -------
    float in (0, 1]; 1 where no group differs; None with fewer than two groups.
    """
    from scipy.stats import wilcoxon  # a second to load, and seldom needed

    ours, theirs = paired_means(a, b)
    sums = np.column_stack([ours.sums[:, 0] - theirs.sums[:, 0], ours.sums[:, 1]])
    rows = _by_group(sums, groups)
    if len(rows) < 2:
        return None
    # As in the test above: what differs by rounding alone does not differ.
    gains = np.round(rows[:, 0] / rows[:, 1], 12)
    gains = gains[gains != 0]
    return float(wilcoxon(gains).pvalue) if gains.size else 1.0


def _by_group(sums: Floats, groups: Groups) -> Floats:
    """Sums of each group that says anything, in order of first appearance."""
    if len(groups) != len(sums):
        raise ValueError(f"{len(groups)} groups for {len(sums)} cases")
    saying: NDArray[np.bool_] = (sums != 0).any(axis=1)
    kept = [group for group, says in zip(groups, saying, strict=True) if says]
    index = {group: i for i, group in enumerate(dict.fromkeys(kept))}
    rows = np.zeros((len(index), sums.shape[1]))
    np.add.at(rows, [index[group] for group in kept], sums[saying])
    return rows


def _quotient(sums: Floats) -> Floats:
    over, under = sums[:, 0], sums[:, 1]
    undefined = np.full(len(sums), np.nan)
    found: Floats = np.divide(over, under, out=undefined, where=under != 0)
    return found
