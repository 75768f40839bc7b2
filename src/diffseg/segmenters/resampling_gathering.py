"""Members that come in one by one, on the source's grid: held, agreed, calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Preview, Region
from diffseg.domain.strokes import ERASED
from diffseg.ensemble import Accumulator, EnsembleSummary, agreed, forbid
from diffseg.ensemble.calibration import Calibration, recalibrated
from diffseg.progress import Progress
from diffseg.segmenters.composing import common, cut, in_values, index_of
from diffseg.segmenters.constraint import Codes
from diffseg.segmenters.gathering import Pace
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.preparation import Frame, restore
from diffseg.segmenters.source import Slab


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is drawn anew.

    Parameters
    ----------
    card : ModelCard
    part : Frame
        Of the planes that are drawn.
    region : Region
        What may change.
    kept : (Z, Y, X) uint8 ndarray
        Dense strokes on the part's region.
    absent : tuple of int
        Class indices of what the annotator says is not there.
    calibration : Calibration, optional
    """

    card: ModelCard
    part: Frame
    region: Region
    kept: Codes
    absent: tuple[int, ...]
    calibration: Calibration | None

    @property
    def changing(self) -> Region:
        """The part of the region that is drawn."""
        return common(self.part.region, self.region)


class HeldGathering:
    """Takes in members, and writes the strokes into each of them and into the answer.

    Parameters
    ----------
    wanted : Wanted
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        classes = len(wanted.card.labels) + 1
        self._accumulator = Accumulator(classes, wanted.part.region.shape)
        self._pace = Pace()

    @property
    def members(self) -> int:
        """How many have come."""
        return self._accumulator.members

    @property
    def due(self) -> bool:
        """Whether it is time for another preview."""
        return self._pace.due

    def add(self, slab: Slab) -> None:
        """Take in a member."""
        wanted = self._wanted
        member = forbid(restore(slab.probability, wanted.part), wanted.absent)
        self._accumulator.add(_kept(member, wanted.kept))

    def preview(self, progress: Progress) -> Preview:
        """Say what the members so far make of what may change."""
        self._pace.took(0.0)
        wanted = self._wanted
        within = index_of(wanted.changing, wanted.part.region)
        classes, uncertainty = (one[within] for one in self._accumulator.so_far())
        return Preview(
            **progress.sign(),
            region=wanted.changing,
            mask=in_values(classes, wanted.card.labels),
            uncertainty=np.rint(uncertainty * 255).astype(np.uint8),
        )

    def summary(self) -> EnsembleSummary:
        """What all members say together of what may change."""
        wanted, preparation = self._wanted, self._wanted.card.preparation
        axis = wanted.part.turn.axes[0] if preparation.dims == 2 else None
        found = self._accumulator.summary()
        found = agreed(found, wanted.card.sampling.consensus, axis)
        found = recalibrated(found, wanted.calibration)
        probability = _kept(found.probability, wanted.kept)
        classes = np.where(wanted.kept == 0, found.classes, probability.argmax(0))
        found = replace(
            found, probability=probability, classes=classes.astype(np.uint8)
        )
        return cut(found, wanted.part.region, wanted.changing)


def _kept(probability: Floats, kept: Codes) -> NDArray[np.float32]:
    """Probabilities with what was drawn and erased as it is, exactly."""
    sure = kept > 0
    result = probability.copy()
    result[:, sure] = 0
    classes = np.where(kept == ERASED, 0, kept)[sure]
    result[(classes, *np.nonzero(sure))] = 1
    return result
