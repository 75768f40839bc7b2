"""Which cases a report shows: the worst, typical ones, and the best."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from diffseg_training.case_score import CaseScore
from diffseg_training.pictures import Picture

WORST, TYPICAL, BEST = 3, 2, 2
"""Cases that are shown of each kind."""
_SAMPLE = 24


@dataclass(slots=True)
class Gallery:
    """The pictures worth keeping so far, of a number that does not grow with cases.

    Typical cases can be told at the end only, so that a random sample is kept: of up
    to 24 cases it is all of them. A case without a structure in its reference can be
    among the worst alone: an empty picture that was rightly left empty shows nothing.
    """

    _worst: list[Picture] = field(default_factory=list)
    _best: list[Picture] = field(default_factory=list)
    _sample: list[Picture] = field(default_factory=list)
    _dice: list[float] = field(default_factory=list)
    _random: np.random.Generator = field(
        default_factory=lambda: np.random.default_rng(0)
    )
    _place: int | None = None

    def wants(self, score: CaseScore) -> bool:
        """Whether a picture of this case is worth making; asked once of each case."""
        dice, self._place = score.dice_macro, None
        if score.present:
            seen = len(self._dice)
            self._dice.append(dice)
            # Of every case so far, each is in the sample with the same chance.
            place = seen if seen < _SAMPLE else int(self._random.integers(seen + 1))
            self._place = place if place < _SAMPLE else None
        return (
            self._place is not None
            or len(self._worst) < WORST
            or dice < _dice(self._worst[-1])
            or (
                bool(score.present)
                and (len(self._best) < BEST or dice > _dice(self._best[-1]))
            )
        )

    def add(self, picture: Picture) -> None:
        """Keep the picture of the case that was just wanted."""
        self._worst = sorted([*self._worst, picture], key=_dice)[:WORST]
        if picture.score.present:
            better = sorted([*self._best, picture], key=_dice, reverse=True)
            self._best = better[:BEST]
        if self._place is not None:
            self._sample[self._place : self._place + 1] = [picture]

    @property
    def worst(self) -> tuple[Picture, ...]:
        """The cases of the lowest Dice, lowest first."""
        return tuple(self._worst)

    @property
    def best(self) -> tuple[Picture, ...]:
        """The cases of the highest Dice, highest first, not those among the worst."""
        shown = {picture.score.case for picture in self._worst}
        return tuple(p for p in self._best if p.score.case not in shown)

    @property
    def typical(self) -> tuple[Picture, ...]:
        """The cases nearest to the median Dice that are not shown elsewhere."""
        shown = {picture.score.case for picture in (*self._worst, *self._best)}
        rest = [p for p in self._sample if p.score.case not in shown]
        if not rest:
            return ()
        middle = float(np.median(self._dice))
        return tuple(sorted(rest, key=lambda p: abs(_dice(p) - middle))[:TYPICAL])


def _dice(picture: Picture) -> float:
    return picture.score.dice_macro
