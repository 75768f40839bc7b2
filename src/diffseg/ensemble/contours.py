"""How far members reach: where nearly all, half, or any of them see a structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Contours:
    """Nested masks of one structure: `inner` in `median` in `outer`.

    Parameters
    ----------
    inner, median, outer : (Z, Y, X) bool ndarrays
        Voxels in at least 95 %, 50 % and 5 % of the members.
    """

    inner: NDArray[np.bool_]
    median: NDArray[np.bool_]
    outer: NDArray[np.bool_]


def contours(masks: NDArray[np.bool_]) -> Contours:
    """Find where at least 95 %, 50 % and 5 % of the members see a structure.

    Parameters
    ----------
    masks : (M, Z, Y, X) bool ndarray
        The structure in each member.

    Raises
    ------
    ValueError
        There is no member.
    """
    members = len(masks)
    if not members:
        raise ValueError("no member was given")
    votes = np.count_nonzero(masks, axis=0)
    # In whole numbers: 19 of 20 members are 95 %, whatever a float makes of it.
    return Contours(
        inner=votes * 20 >= 19 * members,
        median=votes * 2 >= members,
        outer=votes * 20 >= members,
    )
