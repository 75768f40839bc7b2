"""Members of one place come in, piece by piece; its summary and previews come out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, ModelCard, Region
from diffseg.domain.preview import Preview
from diffseg.ensemble import Accumulator, EnsembleSummary, agreed, forbid
from diffseg.ensemble.calibration import Calibration, recalibrated
from diffseg.errors import DiffsegError
from diffseg.progress import Progress
from diffseg.segmenters.composing import common, cut, in_values, index_of, joined
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.preparation import (
    Frame,
    Prepared,
    part_of,
    planes_of,
    restore,
)
from diffseg.segmenters.source import Slab, Step

# Seconds between two previews, at least; and at most this share of the time goes
# into them.
_PAUSE, _SHARE = 0.4, 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What a place is to be given: of which model, how many members.

    `absent` are the indices of classes that must not be found; `region` is what is
    answered for, where the model is shown more than that. `calibration` corrects what
    the members say together; previews are not corrected.
    """

    card: ModelCard
    prepared: Prepared
    members: int
    absent: tuple[int, ...] = ()
    region: Region | None = None
    calibration: Calibration | None = None

    @property
    def wanted(self) -> Region:
        """What is answered for."""
        return self.region or self.prepared.frame.region

    @property
    def planes(self) -> range:
        """The planes of the prepared image that must be drawn for it."""
        return planes_of(self.prepared.frame, self.wanted)


class Gathering:
    """The members of one place, brought back to the source's voxels and summed up.

    They come whole, or as slabs: those of all members for the first planes, then
    for the planes after them. Slices come as the model is shown them; what lies
    beyond the region that is answered for is left out once they are summed up, as a
    consensus may need the whole slice.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._frame, self._image = expected.prepared.frame, expected.prepared.image
        self._classes = len(expected.card.labels) + 1
        self._parts: list[tuple[Region, EnsembleSummary]] = []
        self._wanted = expected.planes
        first = self._wanted.start
        self._planes = range(first, first)  # of the slabs at hand
        self._part: Frame | None = None
        self._accumulator: Accumulator | None = None
        self._step: Step | None = None
        self._reached = 0.0

    @property
    def units(self) -> int:
        """What all members of this place count for in progress; see `units_of`."""
        return self._expected.members * units_of(self._expected.card, self._wanted)

    @property
    def done(self) -> int:
        """How many of the units have come."""
        total = len(self._wanted)
        before = self._expected.members * (self._planes.start - self._wanted.start)
        here = len(self._planes) * (self._accumulator or _NOTHING).members
        per_member = self.units // self._expected.members
        return (before + here) * per_member // total

    def note(self, step: Step) -> None:
        """Take note of how far the chain of the next members is."""
        each = self.units / self._expected.members / len(self._wanted)
        first, planes = self._wanted.start, step.planes
        here = range(planes.start - first, planes.stop - first)
        self._step = replace(step, planes=here)
        self._reached = self.done + step.share * len(step.planes) * each

    @property
    def under_way(self) -> float:
        """How much has been done of units that have not come."""
        return max(0.0, self._reached - self.done)

    @property
    def told(self) -> str:
        """What is under way, in words; "" where nothing is known of it."""
        if self._step is None:
            return ""
        return self._step.told(self._expected.members, len(self._wanted))

    @property
    def settled(self) -> bool:
        """Whether what was added last completes all members of its planes."""
        return self._accumulator is None or (
            self._accumulator.members == self._expected.members
        )

    def add(self, piece: Floats | Slab) -> None:
        """Add a member, or a slab of one.

        Raises
        ------
        DiffsegError
            It is not of the expected shape, or does not come next.
        """
        first = self._wanted.start
        slab = piece if isinstance(piece, Slab) else Slab(first, piece)
        shape = (self._classes, len(self._wanted), *self._image.shape[2:])
        got = slab.probability.shape
        whole = shape if not isinstance(piece, Slab) else (shape[0], got[1], *shape[2:])
        if got != whole:
            self._complain(f"a member of shape {got} instead of {shape}")
        if self.settled:
            self._begin(slab)
        assert self._part is not None
        assert self._accumulator is not None
        if slab.start != self._planes.start or slab.stop != self._planes.stop:
            self._complain(f"planes {slab.start} to {slab.stop} out of turn")
        member = restore(slab.probability, self._part)
        self._accumulator.add(forbid(member, self._expected.absent))
        if self.settled:
            box = common(self._part.region, self._expected.wanted)
            agreed_on = self._agreed(self._part)
            self._parts.append((box, cut(agreed_on, self._part.region, box)))

    def _begin(self, slab: Slab) -> None:
        if self._planes.stop == self._wanted.stop:
            self._complain(f"more than {self._expected.members} members")
        if slab.start != self._planes.stop or slab.stop > self._wanted.stop:
            self._complain(f"planes {slab.start} to {slab.stop} out of turn")
        self._planes = range(slab.start, slab.stop)
        self._part = part_of(self._frame, slab.start, slab.stop)
        self._accumulator = Accumulator(self._classes, self._part.region.shape)

    def _agreed(self, part: Frame) -> EnsembleSummary:
        """The consensus that the card asks for; of slices, each slice's own."""
        assert self._accumulator is not None
        card = self._expected.card
        axis = part.turn.axes[0] if card.preparation.dims == 2 else None
        found = agreed(self._accumulator.summary(), card.sampling.consensus, axis)
        return recalibrated(found, self._expected.calibration)

    def _complain(self, what: str) -> None:
        raise DiffsegError(f"method {self._expected.card.method} drew {what}")

    def summary(self) -> EnsembleSummary:
        """What all members say together.

        Raises
        ------
        DiffsegError
            Some have not come.
        """
        count = (self._accumulator or _NOTHING).members
        if not self.settled or not self._parts:
            self._complain(f"{count} members instead of {self._expected.members}")
        if self._planes.stop != self._wanted.stop:
            first = self._wanted.start
            self._complain(f"planes {first} to {self._planes.stop} and no more")
        return joined(self._parts, self._expected.wanted)

    def preview(self, progress: Progress) -> Preview:
        """Say what the members so far make of the planes at hand."""
        assert self._part is not None
        assert self._accumulator is not None
        if self.settled:
            box, summary = self._parts[-1]
            classes, uncertainty = summary.classes, summary.uncertainty
        else:
            box = common(self._part.region, self._expected.wanted)
            within = index_of(box, self._part.region)
            classes, uncertainty = (one[within] for one in self._accumulator.so_far())
        table: LabelTable = self._expected.card.labels
        return Preview(
            **progress.sign(),
            region=box,
            mask=in_values(classes, table),
            uncertainty=_in_bytes(uncertainty),
        )


_NOTHING = Accumulator(2, (0, 0, 0))


class Pace:
    """When the next preview is due: neither too soon nor at too high a price."""

    def __init__(self) -> None:
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.perf_counter() >= self._next

    def took(self, seconds: float) -> None:
        """Take note that a preview was just made, and what it cost."""
        self._next = time.perf_counter() + max(_PAUSE, seconds / _SHARE)


def units_of(card: ModelCard, planes: range) -> int:
    """What one member counts for in progress: 1, or its planes where they come apart.

    Over 2 dimensions slices are finished one after another, over 3 all at once.
    """
    return len(planes) if card.preparation.dims == 2 else 1


def _in_bytes(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    scaled: NDArray[np.float32] = np.rint(share * 255)
    return scaled.astype(np.uint8)
