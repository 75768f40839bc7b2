"""How members become one probability: their mean, its square, or STAPLE."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.accumulator import EnsembleSummary
from diffseg.ensemble.reliability import staple

Consensus = Literal["mean", "staple", "squared_mean"]


def agreed(
    summary: EnsembleSummary, consensus: Consensus, plane_axis: int | None = None
) -> EnsembleSummary:
    """Replace the mean of a summary by another consensus.

    Uncertainty and mutual information stay those of the members. With one foreground
    class the mask is where its probability is above 0.5.

    Parameters
    ----------
    summary : EnsembleSummary
        Whose probability is the mean over members.
    consensus : {"mean", "staple", "squared_mean"}
        ``staple``: STAPLE (Warfield et al. 2004) over the members' masks, structure
        by structure. ``squared_mean``: the square of each structure's mean, which the
        public MedSegDiff calls staple: a mean of 0.71 is needed for 0.5.
    plane_axis : {0, 1, 2}, optional
        Axis of (Z, Y, X) along which slices lie that are images of their own: STAPLE
        is estimated on each. Without it, on the whole volume.
    """
    if consensus == "mean":
        return summary
    if consensus == "squared_mean":
        foreground = summary.probability[1:] ** 2
    else:
        foreground = _stapled(summary, plane_axis)
    probability = with_background(foreground)
    classes = probability.argmax(axis=0).astype(np.uint8)
    return replace(summary, probability=probability, classes=classes)


def with_background(foreground: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the background, which is what is left, before foreground classes.

    Where they claim more than 1 together, they share it in proportion.

    Parameters
    ----------
    foreground : (K - 1, Z, Y, X) float32 ndarray in [0, 1]

    Returns
    -------
    (K, Z, Y, X) float32 ndarray, summing to 1
    """
    claimed = foreground / np.maximum(foreground.sum(axis=0), 1)
    rest = np.maximum(1 - claimed.sum(axis=0), 0)
    return np.concatenate([rest[None], claimed]).astype(np.float32)


def _stapled(summary: EnsembleSummary, plane_axis: int | None) -> NDArray[np.float32]:
    members = summary.member_classes
    foreground = np.empty_like(summary.probability[1:])
    if plane_axis is None:
        slices: list[tuple[slice | int, ...]] = [(slice(None),) * 3]
    else:
        before = (slice(None),) * plane_axis
        slices = [(*before, plane) for plane in range(members.shape[plane_axis + 1])]
    for index, probability in enumerate(foreground, start=1):
        inside = members == index
        for part in slices:
            probability[part] = staple(inside[(slice(None), *part)]).probability
    return foreground
