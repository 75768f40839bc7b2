"""Members to one answer, in NumPy: consensus, uncertainty, contours, measures.

A member's probability is (K, Z, Y, X) with background at 0; a mask of classes
holds 0 for background and `i` for ``labels[i - 1]``.
"""

from diffseg.ensemble.accumulator import Accumulator, EnsembleSummary, consensus
from diffseg.ensemble.agreement import pairwise_dice
from diffseg.ensemble.contours import Contours, contours
from diffseg.ensemble.entropy import (
    entropy,
    forbid,
    mutual_information,
    normalised_entropy,
)
from diffseg.ensemble.measurement import measure
from diffseg.ensemble.merging import Consensus, agreed, with_background
from diffseg.ensemble.reliability import Staple, staple

__all__ = [
    "Accumulator",
    "Consensus",
    "Contours",
    "EnsembleSummary",
    "Staple",
    "agreed",
    "consensus",
    "contours",
    "entropy",
    "forbid",
    "measure",
    "mutual_information",
    "normalised_entropy",
    "pairwise_dice",
    "staple",
    "with_background",
]
