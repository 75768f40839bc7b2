"""Slices between painted ones, by shape-based interpolation.

Raya and Udupa, "Shape-based interpolation of multidimensional objects", IEEE
Transactions on Medical Imaging 9(1), 1990: the signed distances to the edges of two
slices are interpolated linearly, and the shape is where the result is positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.optimize import linear_sum_assignment

from diffseg.domain import Change
from diffseg.editing.copying import drawn_slices
from diffseg.editing.distances import edge_distance
from diffseg.editing.workpiece import Box, Workpiece, joined
from diffseg.errors import UserError

Mask = NDArray[np.bool_]
_CORNERS = np.ones((3, 3), np.bool_)  # pixels of one object may touch at a corner
_APART = 2.0  # objects that do not overlap are one up to so many times their radii
_ON_EDGE = 1e-9


def interpolate(piece: Workpiece, *, axis: int = 0) -> Change:
    """Fill the slices between those in which a class is drawn.

    Objects that overlap from slice to slice are one object, which may part or merge;
    the result holds what two slices share, and lies within both together. Those that
    overlap none are paired with the nearest, and moved along the line between their
    middles. What has no partner ends. Slices that are drawn stay as they are.

    Parameters
    ----------
    axis : int
        Axis along which slices are counted.

    Raises
    ------
    UserError
        The class is drawn in fewer than two slices, or in no two with others between.
    """
    drawn = drawn_slices(piece, axis)
    gaps = [(a, b) for a, b in pairwise(drawn) if b - a > 1]
    if not gaps:
        raise UserError(
            f"{piece.called} is drawn in "
            + (
                f"{len(drawn)} slices without a gap"
                if len(drawn) > 1
                else "one slice only"
            )
            + "; draw it in two with empty slices between them"
        )
    box = piece.bounds((1, 1, 1))
    steps = tuple(step for one, step in enumerate(piece.spacing) if one != axis)
    return joined(
        [part for gap in gaps for part in _between(piece, box, axis, gap, steps)]
    )


def _between(
    piece: Workpiece,
    box: Box,
    axis: int,
    gap: tuple[int, int],
    steps: Sequence[float],
) -> Iterator[Change]:
    first, last = gap
    one, other = (_slice(piece, box, axis, index) for index in gap)
    matched = list(_matched(one, other, steps))
    for index in range(first + 1, last):
        share = (index - first) / (last - first)
        wanted = np.zeros_like(one)
        for a, b, drift in matched:
            wanted |= _shape(a, b, drift, share)
        z, y, x = (
            slice(index, index + 1) if at == axis else part
            for at, part in enumerate(box)
        )
        yield piece.change_to((z, y, x), np.expand_dims(wanted, axis))


Field = NDArray[np.float64]


def _shape(a: Field, b: Field, drift: NDArray[np.float64], share: float) -> Mask:
    """The shape at `share` of the way from one slice to the other."""
    if drift.any():
        a = ndimage.shift(a, share * drift, order=1, mode="nearest")
        b = ndimage.shift(b, (share - 1) * drift, order=1, mode="nearest")
    found: Mask = (1 - share) * a + share * b >= -_ON_EDGE
    return found[1:-1, 1:-1]


def _matched(
    one: Mask, other: Mask, steps: Sequence[float]
) -> Iterator[tuple[Field, Field, NDArray[np.float64]]]:
    """Signed distances of what belongs together, and how far it moves, in pixels."""
    (here, n_here), (there, n_there) = (
        # What reaches the image's edge goes on beyond it, as far as one can tell.
        ndimage.label(np.pad(mask, 1, mode="edge"), _CORNERS)
        for mask in (one, other)
    )
    group = _groups(here, there, n_here, n_there)
    alone: tuple[list[int], list[int]] = ([], [])
    for number in np.unique(group):
        mine = 1 + np.flatnonzero(group[:n_here] == number)
        theirs = 1 + np.flatnonzero(group[n_here:] == number)
        if len(mine) and len(theirs):
            a, b = np.isin(here, mine), np.isin(there, theirs)
            yield edge_distance(a, steps), edge_distance(b, steps), np.zeros(2)
        else:
            alone[0].extend(mine.tolist())
            alone[1].extend(theirs.tolist())
    for mine_, theirs_, drift in _nearest(here, there, alone, np.asarray(steps)):
        a, b = here == mine_, there == theirs_
        yield edge_distance(a, steps), edge_distance(b, steps), drift


def _groups(
    here: NDArray[np.int32], there: NDArray[np.int32], n_here: int, n_there: int
) -> NDArray[np.int32]:
    """Group of each object of one slice, then of the other, by what overlaps."""
    both = (here > 0) & (there > 0)
    size = n_here + n_there
    pairs = (here[both] - 1, there[both] - 1 + n_here)
    links = sparse.coo_matrix((np.ones(len(pairs[0])), pairs), shape=(size, size))
    _, group = sparse.csgraph.connected_components(links, directed=False)
    return np.asarray(group)


def _nearest(
    here: NDArray[np.int32],
    there: NDArray[np.int32],
    alone: tuple[list[int], list[int]],
    steps: NDArray[np.float64],
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Pairs of objects that overlap none, by their middles, and how far these are."""
    if not alone[0] or not alone[1]:
        return
    middles, radii = [], []
    for labelled, numbers in zip((here, there), alone, strict=True):
        found = ndimage.center_of_mass(labelled > 0, labelled, numbers)
        middles.append(np.asarray(found, np.float64))
        pixels = np.bincount(labelled.ravel())[numbers]
        radii.append(np.sqrt(pixels * np.prod(steps) / np.pi))
    apart = np.linalg.norm((middles[0][:, None] - middles[1]) * steps, axis=-1)
    for i, j in zip(*linear_sum_assignment(apart), strict=True):
        if apart[i, j] <= _APART * (radii[0][i] + radii[1][j]):
            yield alone[0][i], alone[1][j], middles[1][j] - middles[0][i]


def _slice(piece: Workpiece, box: Box, axis: int, index: int) -> Mask:
    z, y, x = (
        slice(index, index + 1) if one == axis else part for one, part in enumerate(box)
    )
    found: Mask = piece.mask((z, y, x)).squeeze(axis)
    return found
