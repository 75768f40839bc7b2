"""The gate: whether a child may take its parent's place, by held-out cases.

A pure function over paired Dice. The rule is one of non-inferiority, class by class,
over patients, whose cases are averaged first:

- the mean difference child - parent is not below minus the tolerance;
- from `FEWEST` patients on, neither is the lower end of its interval: Student's t, two
  sided 90 %, so that a child that is truly worse by more than the tolerance passes at
  most one time in twenty. With fewer, the interval says nothing, and only the mean
  counts; the sentence says so;
- the mean of all classes' differences is not below minus a tolerance of its own, which
  is 0 as it comes: what one class loses another gains, or the child is refused. So a
  model that has nothing to learn stays what it is.

A class that no held-out reference holds is judged by what was found where nothing is:
two empty masks have Dice 1, one empty mask has 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FEWEST = 6
"""Patients from which on the interval counts."""
_SIDE = 0.95
_SLACK = 1e-12
"""A loss of just the tolerance passes, whatever its rounding."""


@dataclass(frozen=True, slots=True)
class CaseDice:
    """How well a model found the classes of one held-out case.

    Parameters
    ----------
    case : str
        Id; a name may be a patient's.
    group : str
        Of one patient; anything that is alike for its cases.
    dice : mapping of name to float
    present : frozenset of str
        Classes that the reference holds.
    """

    case: str
    group: str
    dice: Mapping[str, float]
    present: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClassVerdict:
    """Parent and child on one class.

    Parameters
    ----------
    parent, child : float
        Mean Dice over patients.
    difference : float
        Mean of child - parent.
    low, high : float, optional
        90 % interval of it; None with fewer than two patients.
    worst : float
        Lowest difference of a case.
    present : int
        Held-out cases whose reference holds the class.
    worse : bool
        Whether the gate refuses for this class.
    """

    name: str
    parent: float
    child: float
    difference: float
    low: float | None
    high: float | None
    worst: float
    present: int
    worse: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found, and what became of the child.

    Parameters
    ----------
    kept : bool
    tolerance : float
        Dice that a class may lose.
    overall : float
        Mean over classes of child - parent.
    overall_tolerance : float
        Dice that this mean may lose.
    patients, cases : int
        Held out.
    by_interval : bool
        Whether there were patients enough for the interval to count.
    classes : tuple of ClassVerdict
    """

    kept: bool
    tolerance: float
    overall: float
    overall_tolerance: float
    patients: int
    cases: int
    by_interval: bool
    classes: tuple[ClassVerdict, ...]

    @property
    def judged(self) -> bool:
        """Whether there was a case to judge by."""
        return self.cases > 0

    @property
    def sentence(self) -> str:
        """The verdict in one line, with its figures."""
        if not self.judged:
            return "kept unjudged: no case was held out, and nobody knows its worth"
        counted = f"{self.cases} held-out case{'s' * (self.cases != 1)}"
        figures = ", ".join(map(_figures, self.classes))
        worse = ", ".join(one.name for one in self.classes if one.worse)
        if worse:
            return (
                f"refused: worse than the tolerance of {self.tolerance:g} Dice on "
                f"{worse}, on {counted} ({figures})"
            )
        if not self.kept:
            return (
                f"refused: the mean of all classes falls by {-self.overall:.2g} Dice, "
                f"more than {self.overall_tolerance:g}, on {counted} ({figures})"
            )
        unsure = "" if self.by_interval else "; too few patients for an interval"
        most = f"no class lost more than {self.tolerance:g} Dice"
        return f"kept: {most} on {counted} ({figures}){unsure}"

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain values, its sentence among them."""
        return {**asdict(self), "sentence": self.sentence}


def judge(
    parent: Sequence[CaseDice],
    child: Sequence[CaseDice],
    tolerance: float,
    overall_tolerance: float = 0.0,
) -> Verdict:
    """Compare a child with its parent on the same held-out cases.

    Parameters
    ----------
    parent, child : sequence of CaseDice
        Of the same cases in the same order, by the same members, steps and seed.
    tolerance : float
        Dice that a class may lose, in [0, 1).
    overall_tolerance : float
        Dice that the mean of all classes may lose, in [0, 1).

    Raises
    ------
    ValueError
        There is no case, or they are not paired.
    """
    if not parent or [one.case for one in parent] != [one.case for one in child]:
        raise ValueError("the gate compares the same cases, of which there is one")
    groups = [one.group for one in parent]
    patients = len(set(groups))
    classes = tuple(_judged(name, parent, child, tolerance) for name in parent[0].dice)
    overall = float(np.mean([one.difference for one in classes]))
    worse = any(one.worse for one in classes)
    return Verdict(
        kept=not worse and overall >= -overall_tolerance - _SLACK,
        tolerance=tolerance,
        overall=overall,
        overall_tolerance=overall_tolerance,
        patients=patients,
        cases=len(parent),
        by_interval=patients >= FEWEST,
        classes=classes,
    )


def unjudged(tolerance: float, overall_tolerance: float = 0.0) -> Verdict:
    """The verdict on a model that nobody judged, because a person said so."""
    return Verdict(True, tolerance, 0.0, overall_tolerance, 0, 0, False, ())


def _judged(
    name: str, parent: Sequence[CaseDice], child: Sequence[CaseDice], tolerance: float
) -> ClassVerdict:
    groups = [one.group for one in parent]
    before = np.array([one.dice[name] for one in parent], np.float64)
    after = np.array([one.dice[name] for one in child], np.float64)
    gains = _by_patient(after - before, groups)
    mean = float(gains.mean())
    low, high = _interval(gains)
    counted = mean if len(gains) < FEWEST or low is None else low
    return ClassVerdict(
        name=name,
        parent=float(_by_patient(before, groups).mean()),
        child=float(_by_patient(after, groups).mean()),
        difference=mean,
        low=low,
        high=high,
        worst=float((after - before).min()),
        present=sum(name in one.present for one in parent),
        worse=not counted >= -tolerance - _SLACK,  # what is no number is worse
    )


def _by_patient(
    values: np.ndarray[Any, np.dtype[np.float64]], groups: Iterable[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean of each patient's cases, the patients in order of their first."""
    mine: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        mine.setdefault(group, []).append(float(value))
    return np.array([np.mean(ones) for ones in mine.values()])


def _interval(
    values: np.ndarray[Any, np.dtype[np.float64]],
) -> tuple[float, float] | tuple[None, None]:
    """Student's 90 % interval of a mean; of one value there is none."""
    if len(values) < 2:
        return None, None
    from scipy.stats import t

    half = float(t.ppf(_SIDE, len(values) - 1)) * float(values.std(ddof=1))
    half /= math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _figures(one: ClassVerdict) -> str:
    unseen = "" if one.present else ", in no reference"
    return f"{one.name} {one.parent:.3f} to {one.child:.3f}{unseen}"
