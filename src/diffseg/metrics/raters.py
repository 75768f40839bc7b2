"""Several answers against several raters, where no single reference is the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.metrics.overlap import IntMask

_CHUNK = 2**20  # float32 counts up to 2**24 exactly


@dataclass(frozen=True, slots=True)
class EnergyDistance:
    """How far a set of members is from a set of raters, and each from itself.

    Every distance is the mean of ``1 - IoU`` over pairs, in [0, 1]; a member or a
    rater counts as a pair with itself, since both sets stand for distributions from
    which pairs are drawn.

    Parameters
    ----------
    between : float
        Members against raters, E d(S, Y).
    members : float
        Members against members, E d(S, S'): their diversity; 0 with one.
    raters : float
        Raters against raters, E d(Y, Y').
    """

    between: float
    members: float
    raters: float

    @property
    def squared(self) -> float:
        """Squared generalised energy distance, ``2 E d(S,Y) - E d(S,S') - E d(Y,Y')``.

        0 where both sets are distributed alike, and never below (Kohl et al., 2018,
        equation 3): members gain by lying near the raters, and by differing as
        much as they do.
        """
        return 2 * self.between - self.members - self.raters


def energy_distance(
    members: IntMask, raters: IntMask, value: int = 1
) -> EnergyDistance:
    """Measure members against raters for one structure.

    Parameters
    ----------
    members : (M, Z, Y, X) integer ndarray
        One mask or more.
    raters : (R, Z, Y, X) integer ndarray
    value : int
        The structure's value in both.

    Raises
    ------
    ValueError
        The grids differ, or a set is empty.
    """
    if members.shape[1:] != raters.shape[1:] or not len(members) or not len(raters):
        raise ValueError(f"members {members.shape} and raters {raters.shape}")
    masks = np.concatenate([members == value, raters == value])
    distance, n = _jaccard_distances(masks), len(members)
    return EnergyDistance(
        float(distance[:n, n:].mean()),
        float(distance[:n, :n].mean()),
        float(distance[n:, n:].mean()),
    )


def disagreement(raters: IntMask) -> NDArray[np.bool_]:
    """Voxels to which not all raters give the same class.

    Parameters
    ----------
    raters : (R, Z, Y, X) integer ndarray

    Returns
    -------
    (Z, Y, X) bool ndarray
    """
    differs: NDArray[np.bool_] = (raters[1:] != raters[:1]).any(axis=0)
    return differs


def _jaccard_distances(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``1 - IoU`` of every pair of (N, ...) masks; two empty ones are at 0."""
    claimed = masks[:, masks.any(axis=0)]  # the few voxels that any of them holds
    shared = np.zeros((len(masks), len(masks)))
    for start in range(0, claimed.shape[1], _CHUNK):
        chunk = claimed[:, start : start + _CHUNK].astype(np.float32)
        shared += chunk @ chunk.T
    sizes = np.diag(shared)
    union = sizes[:, None] + sizes[None, :] - shared
    distance: NDArray[np.float64] = 1 - np.divide(
        shared, union, out=np.ones_like(shared), where=union > 0
    )
    return distance
