"""The mask that a person corrects: what was proposed, what was touched, what is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Change, Region

__all__ = ["Annotation", "Change", "proposed_change"]


@dataclass(slots=True, eq=False)
class Annotation:
    """An editable mask on the source's grid, with who put what there.

    `values` is shared with the layer that shows it: a stroke changes it in place.

    Parameters
    ----------
    values : (Z, Y, X) uint8 ndarray
        The mask, in the label table's values.
    touched : (Z, Y, X) bool ndarray
        Voxels that a person set, whatever stood there before.
    proposed : (Z, Y, X) uint8 ndarray, optional
        The latest proposal, as it was; read-only.
    """

    values: NDArray[np.uint8]
    touched: NDArray[np.bool_]
    proposed: NDArray[np.uint8] | None = None

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> Annotation:
        """Start with nothing drawn."""
        return cls(np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))


def proposed_change(
    annotation: Annotation,
    mask: NDArray[np.uint8],
    region: Region | None = None,
    *,
    replace_touched: bool = False,
) -> Change:
    """Find what a proposal changes: within `region`, where no person has been.

    Parameters
    ----------
    mask : (Z, Y, X) uint8 ndarray
        The proposal on the whole grid.
    region : Region, optional
        Only here; the whole grid without it.
    replace_touched : bool
        The person chose to replace what they drew, too.
    """
    box = (slice(None),) * 3 if region is None else region.slices
    here, there = annotation.values[box], np.asarray(mask[box])
    differs = here != there
    if not replace_touched:
        differs &= ~annotation.touched[box]
    found = np.nonzero(differs)
    starts = (0, 0, 0) if region is None else tuple(s for s, _ in region.ranges)
    z, y, x = (
        (axis + start).astype(np.int32)
        for axis, start in zip(found, starts, strict=True)
    )
    return Change((z, y, x), here[found].copy(), there[found].copy())
