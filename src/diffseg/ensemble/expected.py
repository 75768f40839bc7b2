"""What an ensemble itself expects its mask to be worth: Dice, and wrong voxels.

If the probabilities were right and voxels independent, the reference would be a draw of
Bernoulli voxels, and Dice a random number whose mean follows from five sums. Voxels are
not independent; their sums hardly know it, and `DiceMap` corrects the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_ALMOST_ONE = 1 - 1e-12  # log(1 - p) of a certain voxel is finite


@dataclass(frozen=True, slots=True, eq=False)
class SliceErrors:
    """What is expected of each slice along one axis.

    Parameters
    ----------
    wrong : (S,) float64 ndarray
        Voxels whose class is expected to be another.
    dice : (C, S) float64 ndarray in [0, 1]
        Expected Dice of each structure in the slice; near 1 where neither mask nor
        probability knows of it.
    """

    wrong: NDArray[np.float64]
    dice: NDArray[np.float64]


def soft_dice(probability: Floats, inside: NDArray[np.bool_]) -> float:
    """Dice of a mask with probabilities: ``2 sum_m p / (|m| + sum p)``; 1 of nothing.

    Parameters
    ----------
    probability : (...) ndarray in [0, 1]
    inside : (...) bool ndarray
    """
    p = np.asarray(probability, np.float64)
    size = float(np.count_nonzero(inside)) + float(p.sum())
    return 2 * float(p.sum(where=inside)) / size if size else 1.0


def expected_dice(
    probability: Floats, inside: NDArray[np.bool_], counts: Floats | None = None
) -> float:
    """Dice of a mask with a reference that is drawn voxel by voxel, in expectation.

    With A and B the reference's voxels inside and outside a mask of n voxels, Dice is
    ``2 A / (n + A + B)``; its mean is taken to second order around the means a, b::

        2 a / s + (2 a var B - 2 (n + b) var A) / s**3,    s = n + a + b

    of which the first term is `soft_dice`. An empty mask is worth 1 where the reference
    is empty, too: ``prod (1 - p)``.

    Parameters
    ----------
    probability : (...) ndarray in [0, 1]
        That a voxel belongs to the structure.
    inside : (...) bool ndarray
        The mask.
    counts : (...) ndarray, optional
        How many voxels each entry stands for; 1 without it.

    Returns
    -------
    float in [0, 1]
    """
    shape = (1, -1)
    weights = None if counts is None else np.reshape(counts, shape)
    p, m = np.reshape(probability, shape), np.reshape(inside, shape)
    return float(_of_rows(p, m, weights)[0])


def expected_structures(
    probability: Floats, classes: NDArray[np.uint8], counts: Floats | None = None
) -> tuple[float, ...]:
    """`expected_dice` of each structure.

    Parameters
    ----------
    probability : (C, ...) ndarray in [0, 1]
        Of the foreground classes.
    classes : (...) uint8 ndarray
        Class of each voxel: `i + 1` for ``probability[i]``.
    counts : (...) ndarray, optional
        As in `expected_dice`.
    """
    return tuple(
        expected_dice(one, classes == index, counts)
        for index, one in enumerate(probability, start=1)
    )


def slice_errors(
    probability: Floats, classes: NDArray[np.uint8], axis: int = 0
) -> SliceErrors:
    """Expect errors slice by slice, for a strip that shows where to look.

    Parameters
    ----------
    probability : (C, Z, Y, X) ndarray in [0, 1]
        Of the foreground classes.
    classes : (Z, Y, X) uint8 ndarray
        As in `expected_structures`.
    axis : {0, 1, 2}
        Along which the slices lie.
    """
    dice = []
    planes = np.moveaxis(classes, axis, 0)
    rows = planes.reshape(len(planes), -1)
    right = np.zeros(rows.shape)
    background = np.ones(rows.shape)
    for index, one in enumerate(probability, start=1):
        p = np.moveaxis(one, axis, 0).reshape(rows.shape)
        dice.append(_of_rows(p, rows == index, None))
        np.copyto(right, p, where=rows == index)
        background -= p
    np.copyto(right, np.clip(background, 0, 1), where=rows == 0)
    return SliceErrors((1 - right).sum(axis=1), np.array(dice))


def _of_rows(
    probability: Floats, inside: NDArray[np.bool_], counts: Floats | None
) -> NDArray[np.float64]:
    """Expected Dice of each row of (R, N) arrays."""
    p = probability.astype(np.float64)
    w = np.ones_like(p) if counts is None else counts.astype(np.float64)
    m = inside * w
    out = w - m
    spread = p * (1 - p)
    n, a, b = m.sum(axis=1), (m * p).sum(axis=1), (out * p).sum(axis=1)
    var_a, var_b = (m * spread).sum(axis=1), (out * spread).sum(axis=1)
    whole = np.where(n > 0, n + a + b, 1)
    second = (2 * a * var_b - 2 * (n + b) * var_a) / whole**3
    nothing = np.exp((w * np.log1p(-np.minimum(p, _ALMOST_ONE))).sum(axis=1))
    mean: NDArray[np.float64] = np.where(n > 0, 2 * a / whole + second, nothing)
    return np.clip(mean, 0, 1)
