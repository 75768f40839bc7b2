"""Which weak masks are taken, and which of their voxels: pure, and no mask is asked.

A case is ranked by how much the ensemble doubts what it proposes, within the cohort
alone; a voxel counts where the ensemble is sure enough. What was said of slices stands
over both: it is knowledge, and a proposal is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.slice_labels import ABSENT, PRESENT
from diffseg.ensemble.expected import expected_structures
from diffseg.ensemble.routing import CLAIMED

By = Literal["uncertainty", "expected_dice"]
Classes = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

SURE = 0.0
"""Doubt of a case of which everything was said: nothing of it is the model's word."""


def doubt_of(
    classes: Classes,
    probability: Floats,
    uncertainty: Floats,
    states: NDArray[np.uint8],
    by: By = "uncertainty",
) -> float | None:
    """How much an ensemble doubts its mask of a case.

    Parameters
    ----------
    classes : (Z, Y, X) uint8 ndarray
        0 for background, `i + 1` for ``probability[i]``.
    probability : (K, Z, Y, X) ndarray in [0, 1]
        Of the structures.
    uncertainty : (Z, Y, X) ndarray in [0, 1]
        Entropy of the mean over members, divided by the logarithm of the classes.
    states : (Z, K) uint8 ndarray
        What was said of each structure in each slice, as
        `diffseg.domain.slice_labels.CODES` has it.
    by : {"uncertainty", "expected_dice"}
        Mean uncertainty over the voxels of a structure; or 1 less the mean expected
        Dice (`diffseg.ensemble.expected.expected_dice`) of the structures that the
        mask holds.

    Returns
    -------
    float in [0, 1], or None
        0 where every structure is said to be absent from every slice. None where
        nothing is proposed and nobody said so: an empty mask has nothing to be
        doubted by.
    """
    if states.size and (states == ABSENT).all():
        return SURE
    inside = classes > 0
    if not inside.any():
        return None
    if by == "uncertainty":
        return float(uncertainty[inside].mean(dtype=np.float64))
    # Far from any claim, small probabilities of a large volume add up to doubts.
    claimed = (probability >= CLAIMED).any(axis=0) | inside
    dice = expected_structures(probability[:, claimed], classes[claimed])
    held = [one for index, one in enumerate(dice, start=1) if (classes == index).any()]
    return 1.0 - float(np.mean(held))


def taken_cases(
    doubts: Mapping[str, float | None], keep: float, worst: float | None = None
) -> tuple[str, ...]:
    """Cases whose weak masks are taken, the least doubted first.

    Parameters
    ----------
    doubts : mapping of str to float or None
        Of each case, as `doubt_of` gives it; a case of None is never taken.
    keep : float
        Share in (0, 1] of the cases that are doubted at all, rounded up. Cases of
        doubt 0, of which everything was said, are taken beside them.
    worst : float, optional
        In place of the share: cases of a larger doubt are left out.

    Returns
    -------
    tuple of str
        Among equals, in order of name.
    """
    order = sorted((doubt, name) for name, doubt in doubts.items() if doubt is not None)
    if worst is not None:
        return tuple(name for doubt, name in order if doubt <= worst)
    sure = [name for doubt, name in order if doubt <= SURE]
    rest = [name for doubt, name in order if doubt > SURE]
    # A product such as 0.07 * 100 is a little above 7, and is meant to be 7.
    most = math.ceil(keep * len(rest) - 1e-9)
    return (*sure, *rest[:most])


def taken_voxels(
    classes: Classes,
    uncertainty: Floats,
    states: NDArray[np.uint8],
    limit: float,
) -> tuple[Classes, NDArray[np.bool_]]:
    """What a weak mask teaches, and where.

    Parameters
    ----------
    classes : (Z, Y, X) uint8 ndarray
        0 for background, `k + 1` for structure `k`.
    uncertainty : (Z, Y, X) ndarray in [0, 1]
    states : (Z, K) uint8 ndarray
        As of `doubt_of`.
    limit : float
        Voxels of a larger uncertainty do not count.

    Returns
    -------
    classes : (Z, Y, X) uint8 ndarray
    counts : (Z, Y, X) bool ndarray
        A slice without any structure, because so it was said, is background for sure
        and counts whole. A voxel of a structure that is said to be absent there does
        not count, nor does a slice in which a structure is said to be present and none
        is proposed: there the proposal is known to be wrong.
    """
    counts = uncertainty <= limit
    absent = np.pad(states == ABSENT, ((0, 0), (1, 0)))  # background never is
    wrong = absent[np.arange(len(classes))[:, None, None], classes]
    counts &= ~wrong
    found = np.where(wrong, 0, classes).astype(np.uint8)
    for structure in range(states.shape[1]):
        shown = (classes == structure + 1).any(axis=(1, 2))
        counts[(states[:, structure] == PRESENT) & ~shown] = False
    empty = (states == ABSENT).all(axis=1)
    found[empty], counts[empty] = 0, True
    return found, counts


def over(
    weak: tuple[Classes, NDArray[np.bool_]],
    person: tuple[Classes, NDArray[np.bool_]],
    seen: NDArray[np.bool_],
) -> tuple[Classes, NDArray[np.bool_], int]:
    """Let what a person drew or looked at replace a weak mask.

    Parameters
    ----------
    weak, person : (mask, counts)
        (Z, Y, X) uint8 values, and the voxels that count.
    seen : (Z, Y, X) bool ndarray
        What the person touched or reviewed, also where it does not count: of a
        structure that the model does not know.

    Returns
    -------
    mask : (Z, Y, X) uint8 ndarray
    counts : (Z, Y, X) bool ndarray
    weak : int
        Voxels that count and are the weak mask's.
    """
    mask = np.where(seen, person[0], weak[0]).astype(np.uint8)
    left = weak[1] & ~seen
    return mask, left | (person[1] & seen), int(np.count_nonzero(left))
