"""Voxels that a calibration is fitted to and judged by: a few of each case.

Nearly every voxel of a volume is background and certain to be; fitted to all of them
alike, a calibration would learn nothing else. So the box around the object, five voxels
wider than mask and reference, counts nine tenths, and everything else one tenth: enough
that what is right within the box does not spoil what lies outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.metrics import foreground_box

Floats = NDArray[np.floating[Any]]

BOX_MARGIN = 5
"""Voxels by which the box of reference and mask is widened."""
BOX_SHARE = 0.9
"""What voxels in the box weigh of all."""
MOST_IN_BOX, MOST_OUTSIDE = 65_536, 16_384
"""Voxels that are kept of a case, each side of the box."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Voxels of one case whose class is known.

    Parameters
    ----------
    case, group : str
        Names of the case and of its patient.
    probability : (K, N) float32 ndarray
        Background at 0, as the ensemble gives it.
    reference : (N,) uint8 ndarray
        Class of each voxel, 0 for background.
    counts : (N,) float64 ndarray
        How many voxels of the image each stands for.
    inside : (N,) bool ndarray
        Whether it lies in the box around the object.
    """

    case: str
    group: str
    probability: NDArray[np.float32]
    reference: NDArray[np.uint8]
    counts: NDArray[np.float64]
    inside: NDArray[np.bool_]

    def dice(self, classes: NDArray[np.uint8]) -> list[float]:
        """Dice of each structure, of classes (N,) with the reference; 1 of nothing."""
        values = []
        for index in range(1, len(self.probability)):
            found, wanted = classes == index, self.reference == index
            size = self.counts[found].sum() + self.counts[wanted].sum()
            shared = self.counts[found & wanted].sum()
            values.append(float(2 * shared / size) if size else 1.0)
        return values


def evidence_of(
    case: str,
    group: str,
    probability: Floats,
    reference: NDArray[np.uint8],
    generator: np.random.Generator,
    reviewed: NDArray[np.bool_] | None = None,
) -> Evidence:
    """Take the voxels of one case that tell something.

    Parameters
    ----------
    case, group : str
        Names of the case and of its patient.
    probability : (C, Z, Y, X) ndarray in [0, 1]
        Of the foreground classes, not calibrated.
    reference : (Z, Y, X) uint8 ndarray
        A reference mask or a correction: `i + 1` for ``probability[i]``.
    generator : numpy.random.Generator
        Draws which voxels are kept, where there are too many.
    reviewed : (Z, Y, X) bool ndarray, optional
        Voxels that a person has looked at; the others count nothing. All, without it.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if probability.shape[1:] != reference.shape:
        raise ValueError(f"shapes {probability.shape[1:]} and {reference.shape}")
    seen = np.ones(reference.shape, bool) if reviewed is None else reviewed
    if seen.shape != reference.shape:
        raise ValueError(f"shapes {seen.shape} and {reference.shape}")
    background = np.clip(1 - probability.sum(axis=0, keepdims=True), 0, 1)
    full = np.concatenate([background, probability]).astype(np.float32)
    found = full.argmax(axis=0).astype(np.uint8)
    box = foreground_box(
        np.where(seen, reference, 0), np.where(seen, found, 0), BOX_MARGIN
    )
    within = np.zeros(reference.shape, bool)
    if box is not None:
        within[box] = True
    sides = ((within & seen, MOST_IN_BOX), (~within & seen, MOST_OUTSIDE))
    kept = [_some(np.flatnonzero(side), most, generator) for side, most in sides]
    where = np.concatenate([which for which, _ in kept])
    return Evidence(
        case=case,
        group=group,
        probability=full.reshape(len(full), -1)[:, where],
        reference=reference.ravel()[where],
        counts=np.concatenate([np.full(len(w), each) for w, each in kept]),
        inside=within.ravel()[where],
    )


def weights_of(evidence: Sequence[Evidence]) -> list[NDArray[np.float64]]:
    """What each voxel weighs in a fit, case by case; they sum to 1.

    The box counts `BOX_SHARE`, what lies outside the rest; where either side has no
    voxel, the other counts all.
    """
    sums = np.zeros(2)
    for one in evidence:
        sums += one.counts.sum(where=~one.inside), one.counts.sum(where=one.inside)
    share = np.array([1 - BOX_SHARE, BOX_SHARE]) * (sums > 0)
    share = share / max(share.sum(), 1e-300)
    each = np.divide(share, sums, out=np.zeros(2), where=sums > 0)
    return [one.counts * each[one.inside.astype(np.intp)] for one in evidence]


def folds_of(
    evidence: Sequence[Evidence], folds: int, generator: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Which cases are held out in turn: all of a patient in one fold.

    Parameters
    ----------
    evidence : sequence of Evidence
    folds : int
        At most; as many as there are patients, where they are fewer.
    generator : numpy.random.Generator

    Raises
    ------
    ValueError
        Fewer than two patients.
    """
    groups = sorted({one.group for one in evidence})
    if len(groups) < 2:
        raise ValueError(f"{len(groups)} patients; two are needed")
    shuffled = generator.permutation(len(groups))
    fold_of = {groups[g]: i % min(folds, len(groups)) for i, g in enumerate(shuffled)}
    member = np.array([fold_of[one.group] for one in evidence])
    return [np.flatnonzero(member == fold) for fold in range(member.max() + 1)]


def _some(
    which: NDArray[np.intp], most: int, generator: np.random.Generator
) -> tuple[NDArray[np.intp], float]:
    """At most so many of these voxels, and how many of them each stands for."""
    if len(which) <= most:
        return which, 1.0
    kept = np.sort(generator.choice(which, most, replace=False))
    return kept, len(which) / most
