"""What to look at next: candidates in order, one way or another.

An order is a permutation: whoever has time for n candidates takes its first n. Plain
uncertainty does not reliably beat a random order that knows of foreground (nnActive,
2025), so that order is here too, to be measured against; and `diverse`, which takes
classes in turns and avoids what resembles what was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.routing import Candidate, features_of

Floats = NDArray[np.floating[Any]]
Order = tuple[int, ...]

_LEAST = 1e-9  # a quality of nothing, whose logarithm is finite
_JITTER = 1e-9
_SOME = 300


def by_random(candidates: Sequence[Candidate], seed: int) -> Order:
    """Draw every order with the same chance."""
    drawn = np.random.default_rng(seed).permutation(len(candidates))
    return tuple(drawn.tolist())


def by_foreground(candidates: Sequence[Candidate], seed: int) -> Order:
    """Draw at random, stratified by predicted foreground and class.

    Structures take turns in an order that is drawn anew each round. In a structure's
    turn one candidate is drawn with a chance in proportion to its predicted voxels
    (Efraimidis & Spirakis, 2006); those in which nothing is found come last.
    """
    if not candidates:
        return ()
    generator = np.random.default_rng(seed)
    volumes = np.array([one.volumes for one in candidates], np.float64)
    # Exponential times over weights: the shortest first is a draw without return.
    times = generator.exponential(size=volumes.shape)
    keys = np.divide(times, volumes, out=np.full_like(times, np.inf), where=volumes > 0)
    rows = [np.argsort(one, kind="stable").tolist() for one in keys.T]
    queues = [iter([i for i in row if volumes[i, k] > 0]) for k, row in enumerate(rows)]
    left = {i for i in range(len(candidates)) if volumes[i].any()}
    empty = [i for i in range(len(candidates)) if i not in left]
    order: list[int] = []
    while left:
        for k in generator.permutation(len(queues)).tolist():
            chosen = next((i for i in queues[k] if i in left), None)
            if chosen is not None:
                order.append(chosen)
                left.remove(chosen)
    return (*order, *generator.permutation(empty).astype(int).tolist())


def by_entropy(candidates: Sequence[Candidate], seed: int) -> Order:
    """Largest mean uncertainty first, where a structure is claimed."""
    return _descending([one.entropy for one in candidates], seed)


def by_information(candidates: Sequence[Candidate], seed: int) -> Order:
    """Largest mutual information of members first; unknown ones last."""
    values = [
        -1.0 if one.information is None else one.information for one in candidates
    ]
    return _descending(values, seed)


def by_expected_dice(candidates: Sequence[Candidate], seed: int) -> Order:
    """Lowest expected Dice first, as the mean over structures."""
    if not candidates:
        return ()
    dice = np.array([one.expected_dice for one in candidates], np.float64)
    return _descending((-dice.mean(axis=1)).tolist(), seed)


def by_diversity(
    candidates: Sequence[Candidate],
    seed: int,
    taken: Sequence[Candidate] = (),
    noise: float = 0.0,
    most: int = 200,
) -> Order:
    """Doubtful and unlike what was taken; structures take turns.

    Greedy maximisation of a determinant (Chen, Zhang & Zhou, 2018, algorithm 1) of
    ``L_ij = q_i S_ij q_j`` with ``S_ij = exp(-|f_i - f_j|^2 / (2 m^2))``, where f are
    `features_of` and m is the median distance between candidates. In the turn of
    structure k the quality is ``q_i = 1 - expected Dice_k(i)``, and the candidate is
    taken with the largest ::

        2 log q_i + log d_i^2 + noise * Gumbel

    d_i^2 being what is left of ``S_ii = 1`` given those taken: 0 for a copy of one of
    them, 1 for what resembles none. The structure whose candidate has the lowest
    expected Dice begins.

    Parameters
    ----------
    candidates : sequence of Candidate
    seed : int
        Of ties, and of `noise`.
    taken : sequence of Candidate
        What was reviewed before, and need not be resembled; of many, the last `most`.
    noise : float
        0: no randomness beyond ties.
    most : int
        Candidates that are chosen so; those after them follow `by_expected_dice`.
    """
    count = len(candidates)
    if not count:
        return ()
    generator = np.random.default_rng(seed)
    known = taken[-most:] if most else ()
    rest = _Rest(features_of([*candidates, *known]), most + len(known))
    for i in range(len(known)):
        rest.take(count + i)
    quality = 1 - np.array([one.expected_dice for one in candidates], np.float64)
    logs = 2 * np.log(np.maximum(quality, _LEAST))
    turns = np.argsort(-quality.max(axis=0), kind="stable")
    tie = generator.permutation(count)
    left = np.ones(count, bool)
    order: list[int] = []
    for turn in range(min(count, most)):
        gain = logs[:, turns[turn % len(turns)]] + np.log(rest.unlike[:count])
        if noise:
            gain = gain + noise * generator.gumbel(size=count)
        gain = np.where(left, gain, -np.inf)
        best = np.flatnonzero(gain == gain.max())
        chosen = int(best[tie[best].argmin()])
        left[chosen] = False
        order.append(chosen)
        rest.take(chosen)
    return (*order, *(i for i in by_expected_dice(candidates, seed) if left[i]))


STRATEGIES: Mapping[str, Callable[[Sequence[Candidate], int], Order]] = (
    MappingProxyType(
        {
            "random": by_random,
            "foreground": by_foreground,
            "entropy": by_entropy,
            "information": by_information,
            "expected_dice": by_expected_dice,
            "diverse": by_diversity,
        }
    )
)
"""Every order by name: from candidates and a seed to a permutation of them."""


class _Rest:
    """What of each candidate is not told by those taken: Cholesky, row by row.

    Rows of the similarity are made when they are needed: all of them would be too
    many for a large project.
    """

    def __init__(self, features: NDArray[np.float64], most: int) -> None:
        self._features = features
        self._sizes = (features**2).sum(axis=1)
        self._scale = 2 * max(_usual_distance(features), 1e-9) ** 2
        self._rows = np.zeros((most, len(features)))
        self._taken = 0
        self.unlike = np.ones(len(features))

    def take(self, i: int) -> None:
        # |a - b|^2 by the inner product. Not by BLAS: its threads wait for one another
        # longer than such small products take where other work has the cores.
        product = np.einsum("nf,f->n", self._features, self._features[i])
        apart = np.maximum(self._sizes + self._sizes[i] - 2 * product, 0)
        rows = self._rows[: self._taken]
        alike = np.exp(-apart / self._scale)
        told = np.einsum("k,kn->n", rows[:, i], rows)
        row = (alike - told) / np.sqrt(self.unlike[i])
        self._rows[self._taken] = row
        self._taken += 1
        self.unlike = np.maximum(self.unlike - row**2, _JITTER)


def _usual_distance(features: NDArray[np.float64]) -> float:
    """Median distance between candidates; of many, between some, evenly taken."""
    some = features[:: -(-len(features) // _SOME)]
    apart = ((some[:, None] - some[None]) ** 2).sum(axis=2)
    pairs = np.sqrt(apart[np.triu_indices(len(some), k=1)])
    return float(np.median(pairs)) if pairs.size else 1.0


def _descending(values: Sequence[float], seed: int) -> Order:
    """Largest first; those that are equal in an order drawn by the seed."""
    drawn = np.random.default_rng(seed).permutation(len(values))
    return tuple(sorted(range(len(values)), key=lambda i: (-values[i], drawn[i])))
