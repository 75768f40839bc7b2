"""How far the members of a proposal reach, as one small array to draw lines from."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.domain import Proposal
from diffseg.ensemble import contours

LEVELS = (0.05, 0.5, 0.95)
_VOXELS_AT_ONCE = 4_000_000


class NestedLines(Labels):
    """Labels of which one lies within another: each has one line, around it.

    napari draws a line on both sides of a border, which would show every level
    twice.
    """

    @property
    def _type_string(self) -> str:
        """What napari takes it for when it saves or copies it."""
        return "labels"

    def _calculate_contour(
        self, labels: NDArray[Any], data_slice: tuple[slice, ...]
    ) -> NDArray[Any] | None:
        # Private, as there is no other way to say which voxels a line consists of.
        # Were it renamed, napari's own lines would be seen.
        if self.contour < 1 or labels.ndim > 2:
            return None
        around = ndimage.minimum_filter(labels, 2 * self.contour + 1, mode="nearest")
        lines: NDArray[Any] = np.where(labels > around, labels, 0)[data_slice]
        return lines


def bands(proposal: Proposal) -> NDArray[np.uint8]:
    """Find what at least 5 %, 50 % and 95 % of the members see as one structure.

    Without members the probability stands for their share.

    Returns
    -------
    (Z, Y, X) uint8 ndarray
        1, 2, 3 where a structure reaches 5 %, 50 %, 95 %; 0 elsewhere. Where
        there are several structures, the largest of theirs.
    """
    result = np.zeros(proposal.mask.shape, np.uint8)
    planes = max(1, _VOXELS_AT_ONCE // max(1, result[0].size))
    for start in range(0, len(result), planes):
        part = slice(start, start + planes)
        if proposal.members is None:
            likely = proposal.probability[:, part].max(axis=0)
            for level in LEVELS:
                result[part] += likely >= level
        else:
            _count(proposal.members[:, part], proposal.labels.values, result[part])
    return result


def origin(proposal: Proposal) -> str:
    """Say in words what the bands were made from."""
    if proposal.members is None:
        return "probability of 0.05, 0.5 and 0.95; the members were not kept"
    return f"5 %, 50 % and 95 % of {len(proposal.members)} members"


def _count(
    members: NDArray[np.uint8], values: tuple[int, ...], result: NDArray[np.uint8]
) -> None:
    for value in values:
        masks = members == value
        if masks.any():
            found = contours(masks)
            band = found.outer.astype(np.uint8) + found.median + found.inner
            np.maximum(result, band, out=result)
