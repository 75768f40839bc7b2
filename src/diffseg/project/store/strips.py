"""What statements add up to: for the whole case, and for each of its slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Presence
from diffseg.project.store.nouns import Statement

CODES = (Presence.UNKNOWN, Presence.PRESENT, Presence.ABSENT)
"""What 0, 1 and 2 stand for in a strip."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """What is known of one structure, slice by slice.

    Parameters
    ----------
    whole : Presence
        Of the case.
    slices : (Z,) uint8 ndarray
        Indices into `CODES`.
    """

    whole: Presence
    slices: NDArray[np.uint8]


def strip_of(statements: Iterable[Statement], planes: int) -> Strip:
    """Add up what was said of one structure; later words stand over earlier ones.

    That a structure is absent from the case says so of every slice. That it is
    present says so of no slice in particular, unless there is only one. A slice in
    which it is present makes it present in the case; a case of which every slice is
    said to be without it, is without it.

    Parameters
    ----------
    statements : iterable of Statement
        In the order in which they were made, undone ones left out.
    planes : int
        Slices of the image, >= 1.
    """
    slices = np.zeros(planes, np.uint8)
    by_whole = np.zeros(planes, np.bool_)
    said = Presence.UNKNOWN
    for statement in statements:
        code = CODES.index(statement.state)
        if statement.slices is not None:
            box = slice(*statement.slices)
            slices[box], by_whole[box] = code, False
            continue
        said = statement.state
        if said is Presence.PRESENT and planes > 1:
            slices[by_whole] = 0
            by_whole[:] = False
        else:
            slices[:], by_whole[:] = code, True
    present, absent = (CODES.index(one) for one in (Presence.PRESENT, Presence.ABSENT))
    if (slices == present).any():
        return Strip(Presence.PRESENT, slices)
    if (slices == absent).all():
        return Strip(Presence.ABSENT, slices)
    # "Absent" no longer stands where a slice has been said to be otherwise since.
    return Strip(said if said is Presence.PRESENT else Presence.UNKNOWN, slices)
