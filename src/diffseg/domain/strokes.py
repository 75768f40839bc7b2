"""What the annotator drew and erased: the voxels that nothing else may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.labels import LabelTable
from diffseg.errors import UserError

Shape = tuple[int, int, int]
Ranges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

ERASED = 255
"""Stands for background in a dense array of strokes, where 0 says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Strokes:
    """Kept voxels of a (Z, Y, X) mask, sparse.

    Parameters
    ----------
    shape : (Z, Y, X)
        Of the mask.
    voxels : (N,) int64 ndarray
        Flat indices in C order, rising.
    classes : (N,) uint8 ndarray
        What each was made: 0 background, i for ``labels[i - 1]``.

    Raises
    ------
    UserError
        A voxel lies outside the mask, or is told twice.
    """

    shape: Shape
    voxels: NDArray[np.int64]
    classes: NDArray[np.uint8]

    def __post_init__(self) -> None:
        voxels = self.voxels
        if voxels.ndim != 1 or voxels.shape != self.classes.shape:
            raise UserError(
                f"strokes name {voxels.shape} voxels, but {self.classes.shape} "
                "classes; give one class for each voxel"
            )
        if len(voxels) and not (
            voxels[0] >= 0
            and voxels[-1] < np.prod(self.shape)
            and bool((np.diff(voxels) > 0).all())
        ):
            raise UserError(
                f"the voxels of strokes must rise within a mask of {self.shape}"
            )

    @classmethod
    def of(cls, dense: NDArray[np.uint8]) -> Strokes:
        """Read a (Z, Y, X) array: class index + 1, 255 background, 0 unknown."""
        z, y, x = dense.shape
        voxels = np.flatnonzero(dense).astype(np.int64)
        classes = np.ravel(dense)[voxels].astype(np.uint8)
        return cls((z, y, x), voxels, np.where(classes == ERASED, 0, classes))

    @classmethod
    def within(
        cls, mask: NDArray[np.integer[Any]], where: NDArray[np.bool_], table: LabelTable
    ) -> Strokes:
        """Keep a mask, in the table's values, `where` it was touched."""
        z, y, x = mask.shape
        voxels = np.flatnonzero(where).astype(np.int64)
        return cls((z, y, x), voxels, in_classes(np.ravel(mask)[voxels], table))

    def __len__(self) -> int:
        return len(self.voxels)

    def dense(self) -> NDArray[np.uint8]:
        """As `of` reads it."""
        array = np.zeros(self.shape, dtype=np.uint8)
        array.ravel()[self.voxels] = np.where(self.classes == 0, ERASED, self.classes)
        return array

    def followed_by(self, later: Strokes) -> Strokes:
        """Both together; where they overlap, the later ones hold."""
        if later.shape != self.shape:
            raise UserError(f"strokes on {self.shape} and on {later.shape} voxels")
        old = ~np.isin(self.voxels, later.voxels, assume_unique=True)
        voxels = np.concatenate([self.voxels[old], later.voxels])
        classes = np.concatenate([self.classes[old], later.classes])
        order = np.argsort(voxels)
        return Strokes(self.shape, voxels[order], classes[order])

    def onto(
        self, mask: NDArray[np.integer[Any]], table: LabelTable
    ) -> NDArray[np.uint8]:
        """A copy of `mask`, in the table's values, with the strokes written in."""
        changed = mask.astype(np.uint8)
        values = np.array((0, *table.values), dtype=np.uint8)
        changed.ravel()[self.voxels] = values[self.classes]
        return changed

    @property
    def box(self) -> Ranges | None:
        """Smallest half-open box around them, (plane, row, column); None of none."""
        if not len(self):
            return None
        places = np.unravel_index(self.voxels, self.shape)
        z, y, x = ((int(one.min()), int(one.max()) + 1) for one in places)
        return (z, y, x)


def in_classes(
    values: NDArray[np.integer[Any]], table: LabelTable
) -> NDArray[np.uint8]:
    """Turn the table's mask values into class indices, 0 background.

    Raises
    ------
    UserError
        A value is none of the table's.
    """
    known = np.array((0, *table.values))
    found = np.unique(values)
    unknown = found[~np.isin(found, known)]
    if len(unknown):
        raise UserError(
            f"the mask holds {unknown[0]}, which is no value of the model's labels "
            f"({', '.join(map(str, known.tolist()))})"
        )
    lookup = np.zeros(int(known.max()) + 1, dtype=np.uint8)
    lookup[known] = np.arange(len(known))
    classes: NDArray[np.uint8] = lookup[values]
    return classes
