"""Voxels that nobody reviewed: a mark on their class, and no weight in any loss.

A prepared mask is one array from the cache to the step: 128 is added to the class of a
voxel that nobody reviewed, so that it is cut, bent and flipped with its class. Where a
batch is put together the two part again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

UNREVIEWED = 128
"""Added to the class index of a voxel that nobody reviewed."""


def marked(
    classes: NDArray[np.uint8], reviewed: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Mark what was not reviewed.

    Parameters
    ----------
    classes : uint8 ndarray
        Class indices below 128.
    reviewed : bool ndarray of the same shape

    Raises
    ------
    ValueError
        An index is 128 or more: there is no room for the mark.
    """
    if classes.size and int(classes.max()) >= UNREVIEWED:
        raise ValueError(f"class {int(classes.max())} is not below {UNREVIEWED}")
    return np.where(reviewed, classes, classes + np.uint8(UNREVIEWED))


def is_partial(classes: NDArray[Any]) -> bool:
    """Whether some voxel of a prepared mask was not reviewed."""
    return bool(classes.size) and int(classes.max()) >= UNREVIEWED


def parted(classes: Tensor) -> tuple[Tensor, Tensor | None]:
    """Part classes from marks.

    Returns
    -------
    classes : int64 Tensor
        Indices; under a mark, what stood there unreviewed.
    known : bool Tensor or None
        What was reviewed; None where all was.
    """
    known = classes < UNREVIEWED
    if bool(known.all()):
        return classes, None
    return classes % UNREVIEWED, known


def weights_of(known: Tensor) -> Tensor:
    """Weights of the voxels of a batch: 0 where nobody reviewed, and mean 1.

    A mean of weighed terms is then a mean over the reviewed voxels of the batch, each
    of which weighs the same. A batch of which nothing is known weighs nothing.
    """
    weights = known.float()
    return weights / weights.mean().clamp_min(1e-6)
