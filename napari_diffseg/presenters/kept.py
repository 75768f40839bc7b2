"""What a mask that is drawn anew around strokes must leave as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Change
from napari_diffseg.session import Case

Tick = tuple[int, int]
"""Axis of the source and index of a slice along it."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Voxels that stay, whatever the model answers.

    Parameters
    ----------
    start : (Z, Y, X) uint8 ndarray
        The mask that was asked with.
    slices : frozenset of (int, int)
        Axis and index of slices that stay as a whole.
    foreign : (256,) bool ndarray
        Values that the model does not know.
    """

    start: NDArray[np.uint8]
    slices: frozenset[Tick]
    foreign: NDArray[np.bool_]

    def holds(self, case: Case, change: Change) -> NDArray[np.bool_]:
        """(N,) which voxels of a change stay: what a person set, meanwhile, too."""
        held = case.annotation.touched[change.indices].copy()
        held |= change.before != self.start[change.indices]  # such as a step undone
        held |= self.foreign[change.before]
        for axis in range(3):
            mine = [index for one, index in self.slices if one == axis]
            if mine:
                held |= np.isin(change.indices[axis], mine)
        return held
