"""How far one proposal's probabilities and uncertainty can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal
from diffseg.metrics import CalibrationCounts, ErrorRanking, foreground_box

BOX_MARGIN = 5
"""Voxels by which the box of reference and prediction is widened."""
KEPT_BINS = 512
"""Bins of the ranking that is kept of every case."""


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """How far a case's probabilities and uncertainty can be trusted, in one place.

    Parameters
    ----------
    top_label : CalibrationCounts
        By the confidence of the predicted class.
    binary : mapping of name to CalibrationCounts
        By each structure's own probability.
    ranking : ErrorRanking
        Uncertainty of wrong and of right voxels, in coarse bins.
    """

    top_label: CalibrationCounts
    binary: Mapping[str, CalibrationCounts]
    ranking: ErrorRanking


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """Rankings in full resolution, to be added up over cases and never kept of each.

    Parameters
    ----------
    grid, box : ErrorRanking
        Uncertainty of wrong and of right voxels, over the native grid and inside
        the widened box of both masks.
    raters : ErrorRanking
        Uncertainty where raters differ ("wrong") and agree, where there are several.
    """

    grid: ErrorRanking = field(default_factory=ErrorRanking)
    box: ErrorRanking = field(default_factory=ErrorRanking)
    raters: ErrorRanking = field(default_factory=ErrorRanking)

    def __add__(self, other: Rankings) -> Rankings:
        return Rankings(
            self.grid + other.grid, self.box + other.box, self.raters + other.raters
        )


def trust_of(
    proposal: Proposal, predicted: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> tuple[Trust, Trust, Rankings]:
    """Trust over the grid and in the box, and both rankings in full.

    Parameters
    ----------
    proposal : Proposal
    predicted, reference : (Z, Y, X) uint8 ndarrays
        Class indices in the order of the proposal's labels.
    """
    names, probability = proposal.labels.names, proposal.probability
    # What the foreground classes leave; rounding may leave a hair below 0.
    background = np.clip(1 - probability.sum(axis=0, keepdims=True), 0, 1)
    full = np.concatenate([background, probability])
    nothing, unranked = CalibrationCounts(), ErrorRanking()

    def within(z: slice, y: slice, x: slice) -> tuple[Trust, ErrorRanking]:
        wanted = reference[z, y, x]
        error = predicted[z, y, x] != wanted
        ranking = unranked.add(proposal.uncertainty[z, y, x], error)
        binary = {
            name: nothing.add_structure(probability[i, z, y, x], wanted == i + 1)
            for i, name in enumerate(names)
        }
        top = nothing.add(full[:, z, y, x], wanted)
        return Trust(top, binary, ranking.coarse(KEPT_BINS)), ranking

    grid, ranking = within(slice(None), slice(None), slice(None))
    found = foreground_box(reference, predicted, BOX_MARGIN)
    if found is None:
        binary = dict.fromkeys(names, nothing)
        box = Trust(nothing, binary, unranked.coarse(KEPT_BINS))
        return grid, box, Rankings(grid=ranking)
    box, box_ranking = within(*found)
    return grid, box, Rankings(grid=ranking, box=box_ranking)
