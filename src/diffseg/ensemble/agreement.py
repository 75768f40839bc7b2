"""How much members agree with each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 2**20  # float32 counts up to 2**24 exactly


def pairwise_dice(member_classes: NDArray[np.uint8], class_index: int) -> float | None:
    """Mean Dice of one structure over all pairs of members.

    Parameters
    ----------
    member_classes : (M, Z, Y, X) uint8 ndarray
        Class of each voxel in each member.
    class_index : int
        The structure's value in it.

    Returns
    -------
    float in [0, 1], or None with one member. A pair without the structure
    agrees (1).
    """
    members = len(member_classes)
    if members < 2:
        return None
    inside = member_classes == class_index
    inside = inside[:, inside.any(axis=0)]  # the few voxels that any member claims
    shared = np.zeros((members, members))
    for start in range(0, inside.shape[1], _CHUNK):
        chunk = inside[:, start : start + _CHUNK].astype(np.float32)
        shared += chunk @ chunk.T
    sizes = np.diag(shared)
    first, second = np.triu_indices(members, k=1)
    both = sizes[first] + sizes[second]
    empty = both == 0
    dice = np.where(empty, 1.0, 2 * shared[first, second] / np.where(empty, 1, both))
    return float(dice.mean())
