"""What statements add up to: for the whole case, and for each of its slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Presence
from diffseg.domain.slice_labels import CODES, added_up
from diffseg.project.store.nouns import Statement


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
    """Add up what was said of one structure; see `diffseg.domain.slice_labels`.

    Parameters
    ----------
    statements : iterable of Statement
        In the order in which they were made, undone ones left out.
    planes : int
        Slices of the image, >= 1.
    """
    return Strip(*added_up(statements, planes))


__all__ = ["CODES", "Strip", "strip_of"]
