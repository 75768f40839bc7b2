"""Where an ensemble's answer deserves a look, and how doubtful each slice is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int, int]

DOUBT = 0.2
"""Uncertainty from which a voxel counts as in doubt."""

_SMALLEST = 3  # voxels: less is the noise of one border
_FAINT = 0.02  # of the strongest place of all
_AT_ONCE = 4096  # points that are looked through together


@dataclass(frozen=True, slots=True)
class DoubtfulPlace:
    """A neighbourhood in which members disagree about one structure.

    Parameters
    ----------
    center : (plane, row, column)
        The voxel around which doubt is densest.
    index : int
        Class index of the structure, 0-based.
    voxels : int
        Voxels in doubt around it, each counted at one place only.
    score : float
        Their uncertainty, summed, over the structure's size: larger is more
        doubtful.
    neighbours : tuple of int
        Class indices in the mask within the neighbourhood: empty where nothing
        was marked, several where structures meet.
    """

    center: Point
    index: int
    voxels: int
    score: float
    neighbours: tuple[int, ...]


def doubtful_places(
    uncertainty: NDArray[np.floating[Any]],
    probability: NDArray[np.floating[Any]],
    classes: NDArray[np.uint8],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    most: int = 24,
    apart: float = 8.0,
    doubt: float = DOUBT,
) -> tuple[DoubtfulPlace, ...]:
    """Find the places that deserve a look, the most doubtful first.

    Voxels in doubt belong to the structure that is likeliest there. Around each
    the uncertainty is summed over a neighbourhood; its maxima are taken, none
    nearer than `apart` to another of the same structure. Summing over where
    members disagree, and dividing by the structure's size, keeps neither a long
    border nor a large background from drowning what is small. Structures take
    turns, so that the first places show each of them.

    Parameters
    ----------
    uncertainty : (Z, Y, X) ndarray
        In [0, 1].
    probability : (C, Z, Y, X) ndarray
        Of the foreground classes.
    classes : (Z, Y, X) uint8 ndarray
        The mask: 0 for background, `i` for class index ``i - 1``.
    spacing : sequence of float
        Of planes, rows and columns, > 0; in the unit of `apart`.
    most : int
        Places at most.
    apart : float
        Distance that places of one structure keep, > 0.
    doubt : float
        Uncertainty from which a voxel counts, in (0, 1].

    Raises
    ------
    ValueError
        The grids differ.
    """
    shape = uncertainty.shape
    if probability.shape[1:] != shape or classes.shape != shape:
        raise ValueError(f"grids {shape}, {probability.shape[1:]}, {classes.shape}")
    doubted = np.nonzero(np.asarray(uncertainty) >= doubt)
    if not len(doubted[0]):
        return ()
    points = np.stack(doubted, axis=1)
    weight = np.asarray(uncertainty)[doubted].astype(np.float64)
    owner = np.stack([one[doubted] for one in probability]).argmax(axis=0)
    steps = np.asarray(spacing, dtype=np.float64)
    found: list[list[DoubtfulPlace]] = []
    for index in range(len(probability)):
        own = owner == index
        size = max(int(np.count_nonzero(classes == index + 1)), 1)
        found.append(_places_of(index, points[own], weight[own], steps, apart, size))
    chosen = _in_turns(found, most)
    return tuple(_with_neighbours(one, classes, steps, apart) for one in chosen)


def slice_doubts(
    uncertainty: NDArray[np.floating[Any]],
    mask: NDArray[np.uint8],
    axis: int = 0,
    *,
    doubt: float = DOUBT,
) -> NDArray[np.float32]:
    """Tell how doubtful each slice is, in [0, 1], whatever its share of background.

    The uncertainty of the voxels in doubt, summed, over what is marked or in doubt
    in the slice. Half the usual extent of the structures is added below the line,
    so that a slice in which a single voxel is in doubt does not stand out.

    Parameters
    ----------
    uncertainty : (Z, Y, X) ndarray
        In [0, 1].
    mask : (Z, Y, X) ndarray
        0 is background.
    axis : int
        Axis that the slices are counted along.

    Returns
    -------
    (N,) float32 ndarray
    """
    others = tuple(one for one in range(3) if one != axis)
    values = np.asarray(uncertainty)
    doubted = values >= doubt
    summed = np.sum(values, axis=others, where=doubted, dtype=np.float64)
    marked = np.asarray(mask) != 0
    extent = np.count_nonzero(doubted | marked, axis=others)
    usual = np.median(extent[extent > 0]) if extent.any() else 1.0
    doubts: NDArray[np.float64] = np.clip(summed / (extent + usual / 2), 0.0, 1.0)
    return np.asarray(doubts, np.float32)


def _places_of(
    index: int,
    points: NDArray[np.intp],
    weight: NDArray[np.float64],
    steps: NDArray[np.float64],
    apart: float,
    size: int,
) -> list[DoubtfulPlace]:
    """Maxima of the doubt around each point, kept apart; greedy.

    Around a maximum only a box is looked at, so that an image in doubt everywhere
    takes no longer than its size.
    """
    if not len(points):
        return []
    low = points.min(axis=0)
    where = tuple((points - low).T)
    left = np.zeros(points.max(axis=0) - low + 1, np.float32)
    left[where] = weight  # of points that belong to no place yet; 0 elsewhere
    density = _density(left, where, weight, steps, apart / 2)
    reach = np.minimum(apart // steps, np.array(left.shape) - 1).astype(int)
    near = _ball(reach, steps, apart)
    found: list[DoubtfulPlace] = []
    for at in _descending(density, where, left):
        box, cut = _around(at, reach, left.shape)
        around = left[box]  # a view
        mine = near[cut] & (around > 0)
        voxels = int(np.count_nonzero(mine))
        if voxels >= _SMALLEST:
            score = float(around[mine].sum(dtype=np.float64)) / size
            z, y, x = (int(i) for i in np.add(at, low))
            found.append(DoubtfulPlace((z, y, x), index, voxels, score, ()))
        around[mine] = 0
    return found


def _density(
    field: NDArray[np.float32],
    where: tuple[NDArray[np.intp], ...],
    weight: NDArray[np.float64],
    steps: NDArray[np.float64],
    reach: float,
) -> NDArray[np.float64]:
    """Uncertainty summed around each point, in a box of about `reach` each way."""
    from scipy.ndimage import uniform_filter

    widths = [1 + 2 * max(1, round(reach / step)) for step in steps]
    sizes = [min(w, 2 * n - 1) for w, n in zip(widths, field.shape, strict=True)]
    around = uniform_filter(field, size=sizes, mode="constant")
    # A nearly flat top is broken in favour of its most uncertain voxel.
    dense: NDArray[np.float64] = around[where] + 1e-3 * weight * float(around.max())
    return dense


def _descending(
    density: NDArray[np.float64],
    where: tuple[NDArray[np.intp], ...],
    left: NDArray[np.float32],
) -> Iterator[Point]:
    """Points from the densest on, without those that have left meanwhile."""
    order = np.argsort(-density, kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        there = np.stack([axis[some] for axis in where], axis=1)
        for z, y, x in there[left[tuple(there.T)] > 0].tolist():
            if left[z, y, x] > 0:
                yield z, y, x


def _ball(
    reach: NDArray[np.intp], steps: NDArray[np.float64], radius: float
) -> NDArray[np.bool_]:
    """Which voxels of a box of `reach` each way are no further from its middle."""
    z, y, x = (
        (np.arange(-n, n + 1) * step) ** 2 for n, step in zip(reach, steps, strict=True)
    )
    near: NDArray[np.bool_] = z[:, None, None] + y[:, None] + x <= radius**2
    return near


def _around(
    at: Point, reach: NDArray[np.intp], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """A box around a point as far as there is an array, in the array and in itself."""
    box, cut = [], []
    for i, n, size in zip(at, reach.tolist(), shape, strict=True):
        start, stop = max(0, i - n), min(size, i + n + 1)
        box.append(slice(start, stop))
        cut.append(slice(start - i + n, stop - i + n))
    return tuple(box), tuple(cut)


def _with_neighbours(
    place: DoubtfulPlace,
    classes: NDArray[np.uint8],
    steps: NDArray[np.float64],
    apart: float,
) -> DoubtfulPlace:
    box = tuple(
        slice(max(0, at - reach), at + reach + 1)
        for at, reach in (
            (at, max(1, round(apart / 2 / step)))
            for at, step in zip(place.center, steps, strict=True)
        )
    )
    there = tuple(int(v) - 1 for v in np.unique(classes[box]) if v)
    return DoubtfulPlace(place.center, place.index, place.voxels, place.score, there)


def _in_turns(found: list[list[DoubtfulPlace]], most: int) -> tuple[DoubtfulPlace, ...]:
    """Best of each structure, then the second of each, and so on."""
    strongest = max((one.score for rows in found for one in rows), default=0.0)
    kept = [
        sorted(
            (one for one in rows if one.score >= _FAINT * strongest),
            key=lambda one: (-one.score, one.center),
        )
        for rows in found
    ]
    ordered: list[DoubtfulPlace] = []
    for turn in range(max((len(rows) for rows in kept), default=0)):
        row = [rows[turn] for rows in kept if turn < len(rows)]
        ordered += sorted(row, key=lambda one: (-one.score, one.index))
    return tuple(ordered[:most])
