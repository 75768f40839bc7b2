"""One proposal against several raters of one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal
from diffseg.metrics import (
    EnergyDistance,
    ErrorRanking,
    dice,
    disagreement,
    energy_distance,
)
from diffseg_training.case_trust import KEPT_BINS


@dataclass(frozen=True, slots=True, eq=False)
class RaterScore:
    """What a case with several raters tells; small enough to keep for all cases.

    Parameters
    ----------
    energy : mapping of name to EnergyDistance
        Members against raters, for each structure.
    between_raters : mapping of name to float
        Mean Dice over pairs of raters.
    with_raters : tuple of mappings of name to float
        Dice of the proposal with each rater, in their order.
    ranking : ErrorRanking
        Uncertainty of the voxels on which raters differ ("wrong") and agree, in
        coarse bins.
    """

    energy: Mapping[str, EnergyDistance]
    between_raters: Mapping[str, float]
    with_raters: tuple[Mapping[str, float], ...]
    ranking: ErrorRanking

    @property
    def ged2(self) -> dict[str, float]:
        """Squared generalised energy distance of each structure."""
        return {name: energy.squared for name, energy in self.energy.items()}

    def as_json(self) -> dict[str, Any]:
        """The part of the case's entry in ``metrics.json``."""
        return {
            "ged2": self.ged2,
            "rater_dice": dict(self.between_raters),
            "proposal_dice": [dict(dice) for dice in self.with_raters],
            "uncertainty_disagreement_auroc": self.ranking.auroc,
        }


def score_raters(
    proposal: Proposal,
    predicted: NDArray[np.uint8],
    members: NDArray[np.uint8],
    references: Sequence[NDArray[np.uint8]],
) -> tuple[RaterScore, ErrorRanking]:
    """Score a proposal and its members against two raters or more.

    Parameters
    ----------
    proposal : Proposal
        Whose uncertainty and names are used.
    predicted : (Z, Y, X) uint8 ndarray
        Its class indices.
    members : (M, Z, Y, X) uint8 ndarray
        Class indices of its members.
    references : sequence of (Z, Y, X) uint8 ndarrays
        Class indices of each rater.

    Returns
    -------
    RaterScore, ErrorRanking
        The ranking in full resolution, to be added up and let go.
    """
    raters = np.stack(references)
    classes = dict(zip(proposal.labels.names, range(1, 256), strict=False))
    first, second = np.triu_indices(len(raters), k=1)
    pairs = list(zip(first, second, strict=True))
    ranking = ErrorRanking().add(proposal.uncertainty, disagreement(raters))
    score = RaterScore(
        energy={n: energy_distance(members, raters, i) for n, i in classes.items()},
        between_raters={
            name: float(np.mean([dice(raters[a], raters[b], i) for a, b in pairs]))
            for name, i in classes.items()
        },
        with_raters=tuple(
            {name: dice(predicted, rater, i) for name, i in classes.items()}
            for rater in raters
        ),
        ranking=ranking.coarse(KEPT_BINS),
    )
    return score, ranking
