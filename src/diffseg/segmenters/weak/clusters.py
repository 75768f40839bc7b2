"""From embeddings of pixels to classes: K-means, and which cluster is what.

No reference mask decides which cluster is the foreground: the centre that lies nearest
to what the pixels of each class were embedded as in training, of which the classes are
known from image-level labels alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

Floats = NDArray[np.float32]

MOST_FITTED = 10_000
"""Pixels that centres are found on; all others are assigned to them."""


def centres(
    embeddings: Floats,
    count: int,
    source: np.random.Generator,
    *,
    starts: int = 4,
    iterations: int = 25,
    first: Floats | None = None,
) -> Floats | None:
    """Centres of K-means (Lloyd), the best of several starts.

    Parameters
    ----------
    embeddings : (P, E) float32 ndarray
    count : int
        Clusters K.
    source : np.random.Generator
        Chooses the pixels that are fitted, at most `MOST_FITTED`, and the starts.
    starts : int
        By k-means++ (Arthur and Vassilvitskii 2007), beside `first`.
    iterations : int
        Of each start.
    first : (K, E) float32 ndarray, optional
        Centres of one more start.

    Returns
    -------
    (K, E) float32 ndarray or None
        Of the start whose pixels lie nearest; None where there are not so many
        clusters, because there are too few different pixels.
    """
    some = embeddings
    if len(some) > MOST_FITTED:
        some = some[source.choice(len(some), MOST_FITTED, replace=False)]
    found: list[tuple[float, Floats]] = []
    begun: list[Floats | None] = [] if first is None else [first]
    for start in [*begun, *(None for _ in range(starts))]:
        one = _lloyd(some, count, source, iterations, start)
        if one is not None:
            nearest = cdist(some, one, "sqeuclidean").min(axis=1)
            found.append((float(nearest.sum()), one))
    return min(found, key=lambda each: each[0])[1] if found else None


def _lloyd(
    some: Floats,
    count: int,
    source: np.random.Generator,
    iterations: int,
    start: Floats | None,
) -> Floats | None:
    """Centres from one start; None where a cluster lost all its pixels."""
    if len(some) < count:
        return None
    how = "++" if start is None else "matrix"
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels that are all equal
        try:
            made, _ = kmeans2(
                some.astype(np.float64),
                count if start is None else start.astype(np.float64),
                iter=iterations,
                minit=how,
                missing="raise",
                rng=source,
            )
        except (ClusterError, ValueError):
            return None
    return made.astype(np.float32) if np.isfinite(made).all() else None


def in_order(found: Floats, references: Floats) -> Floats:
    """Centres in the order of the references that they lie nearest to, all together.

    The order in which they come plays no part.

    Parameters
    ----------
    found, references : (K, E) float32 ndarray

    Returns
    -------
    (K, E) float32 ndarray
        Row k is the centre that stands for ``references[k]``: the sum of squared
        distances is the least that any order has.
    """
    cost = cdist(references, found, "sqeuclidean")
    _, columns = linear_sum_assignment(cost)
    ordered: Floats = found[columns]
    return ordered


def shares(
    embeddings: Floats,
    ordered: Floats,
    temperature: float,
    offsets: Floats | None = None,
) -> Floats:
    """Probability of each class at each pixel, the largest at the nearest centre.

    ``softmax(-|z - c_k|^2 / (2 tau) + b_k)``: for embeddings of length 1 the
    contrastive loss's own softmax over the centres. Without offsets b the nearest
    centre is the likeliest, as in K-means, for any temperature.

    Parameters
    ----------
    embeddings : (P, E) float32 ndarray
    ordered : (K, E) float32 ndarray
    temperature : float
        tau; 0 gives 0 and 1, of the nearest centre.
    offsets : (K,) or (P, K) float32 ndarray, optional
        Of the log-probabilities; 0 without them.

    Returns
    -------
    (P, K) float32 ndarray
    """
    if temperature <= 0:
        distance = cdist(embeddings, ordered, "sqeuclidean")
        hard = np.zeros(distance.shape, np.float32)
        hard[np.arange(len(hard)), distance.argmin(axis=1)] = 1
        return hard
    power = _powers(embeddings, ordered, temperature)
    power += 0 if offsets is None else offsets
    grown = np.exp(power - power.max(axis=1, keepdims=True))
    divided: NDArray[np.float64] = grown / grown.sum(axis=1, keepdims=True)
    return divided.astype(np.float32)


def log_odds(embeddings: Floats, ordered: Floats, temperature: float) -> Floats:
    """Log-odds (P, K) of each class against the first, before any offset.

    As `shares` has them, of one class and the first alone.
    """
    power = _powers(embeddings, ordered, temperature)
    odds: Floats = (power - power[:, :1]).astype(np.float32)
    return odds


def _powers(
    embeddings: Floats, ordered: Floats, temperature: float
) -> NDArray[np.float64]:
    """``-|z - c_k|^2 / (2 tau)`` (P, K)."""
    powers: NDArray[np.float64] = -cdist(embeddings, ordered, "sqeuclidean")
    return powers / (2 * temperature)


def clustered(
    embeddings: Floats,
    references: Floats,
    source: np.random.Generator,
    *,
    temperature: float,
    starts: int = 1,
    iterations: int = 25,
    offsets: Floats | None = None,
) -> Floats:
    """Class probabilities (P, K) of the pixels of one slice; see `centres`, `shares`.

    With no iterations, or where the pixels do not make so many clusters, the
    references themselves are the centres.
    """
    found = None
    if iterations:
        found = centres(
            embeddings,
            len(references),
            source,
            starts=starts,
            iterations=iterations,
            first=None if starts else references,
        )
    ordered = references if found is None else in_order(found, references)
    return shares(embeddings, ordered, temperature, offsets)


def mean_directions(embeddings: Sequence[Floats]) -> Floats:
    """Reference of each class: the mean (K, E) of its pixels' embeddings (P_k, E)."""
    return np.stack([one.mean(axis=0) for one in embeddings]).astype(np.float32)
