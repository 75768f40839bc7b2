"""What an ensemble says so far, while it is still being drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.request import Region
from diffseg.progress import Progress


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Preview(Progress):
    """A sign of life that carries an answer so far for one box of the volume.

    A later preview of the same voxels replaces an earlier one; the proposal
    replaces them all.

    Parameters
    ----------
    region : Region
        The box, in voxels of the source's grid.
    mask : (z, y, x) uint8 ndarray
        Consensus so far within the box, in the label table's values.
    uncertainty : (z, y, x) uint8 ndarray
        Uncertainty so far; 255 stands for 1.
    """

    region: Region
    mask: NDArray[np.uint8]
    uncertainty: NDArray[np.uint8]
