"""STAPLE: a mask and each member's reliability, estimated together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = 0.99999  # sensitivity and specificity to begin with, as in ITK
_SETTLED = 1e-7
_MOST_ROUNDS = 300  # members that mostly agree settle within some tens
# Reliabilities are kept this far from 0 and 1, where one vote would decide alone.
_DOUBT = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Staple:
    """What STAPLE makes of the masks of one structure.

    Parameters
    ----------
    probability : (...) float64 ndarray in [0, 1]
        That a voxel belongs to the structure.
    sensitivity, specificity : (M,) float64 ndarray
        Of each member.
    """

    probability: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]


def staple(masks: NDArray[np.bool_]) -> Staple:
    """Estimate the true mask behind several by expectation maximisation.

    Warfield et al. 2004: in turn the mask, given the members' sensitivity and
    specificity, and these, given the mask. The prior is the share of all votes that
    are for the structure, the same everywhere.

    Parameters
    ----------
    masks : (M, ...) bool ndarray
        Of M members, at least 1.

    Returns
    -------
    Staple
        Where all votes are equal over the whole image, that vote.
    """
    members = len(masks)
    votes = masks.reshape(members, -1)
    prior = float(votes.mean())
    sensitivity = np.full(members, _FIRST)
    specificity = np.full(members, _FIRST)
    if prior in (0.0, 1.0):
        flat = np.full(votes.shape[1], prior)
        return Staple(flat.reshape(masks.shape[1:]), sensitivity, specificity)
    # Voxels with the same votes have the same probability: each pattern counts once.
    patterns, which, counts = _patterns(votes)
    weight = _weights(patterns, prior, sensitivity, specificity)
    for _ in range(_MOST_ROUNDS):
        inside, outside = weight * counts, (1 - weight) * counts
        before = np.concatenate([sensitivity, specificity])
        if inside.sum() > 0:
            sensitivity = patterns.T @ inside / inside.sum()
        if outside.sum() > 0:
            specificity = (1 - patterns).T @ outside / outside.sum()
        weight = _weights(patterns, prior, sensitivity, specificity)
        after = np.concatenate([sensitivity, specificity])
        if np.abs(after - before).max() < _SETTLED:
            break
    return Staple(weight[which].reshape(masks.shape[1:]), sensitivity, specificity)


def _patterns(
    votes: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Different votes (P, M), which of them each voxel has (N,), and how many (P,)."""
    packed = np.ascontiguousarray(np.packbits(votes, axis=0).T)  # [N, bytes]
    keys: NDArray[Any] = packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
    _, first, which, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return votes[:, first].T.astype(np.float64), which, counts


def _weights(
    patterns: NDArray[np.float64],
    prior: float,
    sensitivity: NDArray[np.float64],
    specificity: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Probability of the structure given each pattern of votes, (P,)."""
    p = np.clip(sensitivity, _DOUBT, 1 - _DOUBT)
    q = np.clip(specificity, _DOUBT, 1 - _DOUBT)
    yes = patterns @ np.log(p) + (1 - patterns) @ np.log(1 - p) + np.log(prior)
    no = patterns @ np.log(1 - q) + (1 - patterns) @ np.log(q) + np.log(1 - prior)
    odds: NDArray[np.float64] = 1 / (1 + np.exp(np.clip(no - yes, -700, 700)))
    return odds
