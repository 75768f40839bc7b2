"""How far the members of a proposal reach, as one small array to draw lines from."""

from __future__ import annotations

from collections.abc import Iterator
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
    twice. Where lines of several levels lie on one another they take turns.
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
        return nested_lines(labels, self.contour)[data_slice]


def nested_lines(
    levels: NDArray[np.uint8], thickness: int = 1, dash: int = 2
) -> NDArray[np.uint8]:
    """Lines around every level of (rows, columns) of nested ones, 0 outside.

    A line lies within its level. Where several end at one place, dashes of about
    `dash` entries show them in turn: all that end there can be told.

    Parameters
    ----------
    thickness : int
        Of a line, in entries.
    """
    around = ndimage.minimum_filter(levels, 2 * thickness + 1, mode="nearest")
    several = np.maximum(levels - around, 1)
    rows, columns = (np.arange(size) for size in levels.shape)
    # Uneven steps, so that dashes alternate along upright and slanting lines alike.
    turn = (2 * rows[:, None] + 3 * columns) // (5 * dash // 2)
    shown = levels - (turn % several).astype(levels.dtype)
    return np.where(levels > around, shown, np.zeros_like(levels))


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
    likely, members = proposal.probability, proposal.members
    # Most of an image is of no structure: members need not be counted there.
    for box in _boxes(likely if members is None else members):
        part, there = result[box], (slice(None), *box)
        if members is None:
            most = likely[there].max(axis=0)
            for level in LEVELS:
                part += most >= level
        else:
            _count(members[there], proposal.labels.values, part)
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


def _boxes(source: NDArray[Any]) -> Iterator[tuple[slice, slice, slice]]:
    """Boxes, each of some planes, that hold all of (N, Z, Y, X) that is not 0."""
    planes = np.flatnonzero(source.any(axis=(0, 2, 3)))
    if not len(planes):
        return
    several = max(1, _VOXELS_AT_ONCE // max(1, source[0, 0].size))
    for start in range(int(planes[0]), int(planes[-1]) + 1, several):
        z = slice(start, min(start + several, int(planes[-1]) + 1))
        there = source[:, z].any(axis=(0, 1))
        rows, columns = (np.flatnonzero(np.any(there, axis=axis)) for axis in (1, 0))
        if len(rows):
            y = slice(int(rows[0]), int(rows[-1]) + 1)
            yield z, y, slice(int(columns[0]), int(columns[-1]) + 1)
