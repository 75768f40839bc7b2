"""Voxels that change their label, by a stroke, a tool or a proposal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Voxels that change their label; sparse, and its own inverse's opposite.

    Parameters
    ----------
    indices : tuple of three (N,) int32 ndarrays
        (plane, row, column) on the source's grid.
    before, after : (N,) uint8 ndarrays
        Labels.
    """

    indices: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.after)
