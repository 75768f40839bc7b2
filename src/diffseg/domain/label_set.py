"""Image-level labels of many images, and whether something can be learnt from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from diffseg.domain.slice_labels import (
    ABSENT,
    ORIGINS,
    PRESENT,
    UNKNOWN,
    SliceLabels,
    States,
)
from diffseg.errors import UserError


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Slices in which a structure is present, absent, or not known to be either."""

    present: int
    absent: int
    unknown: int

    @property
    def slices(self) -> int:
        """All of them."""
        return self.present + self.absent + self.unknown


@dataclass(frozen=True, slots=True, eq=False)
class LabelSet:
    """Image-level labels of the images of a data set.

    Parameters
    ----------
    names : tuple of K str
        Structures, in order of class index.
    cases : mapping of str to SliceLabels
        By name of the case; all of the same structures.
    warnings : tuple of str
        One-line remarks on what could not be used.
    """

    names: tuple[str, ...]
    cases: Mapping[str, SliceLabels]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(one.names != self.names for one in self.cases.values()):
            raise ValueError(f"labels of other structures than {self.names}")
        object.__setattr__(self, "cases", MappingProxyType(dict(self.cases)))

    @property
    def states(self) -> States:
        """States (N, K) of all slices, case after case."""
        if not self.cases:
            return np.zeros((0, len(self.names)), np.uint8)
        return np.concatenate([one.states for one in self.cases.values()])

    def counts(self) -> Mapping[str, LabelCounts]:
        """Of each structure: in how many slices it is present, absent, unknown."""
        states = self.states
        return {
            name: LabelCounts(
                *(int((column == code).sum()) for code in (PRESENT, ABSENT, UNKNOWN))
            )
            for name, column in zip(self.names, states.T, strict=True)
        }

    def of_cases(self, cases: Sequence[str]) -> LabelSet:
        """Labels of some of the cases, in their order."""
        return LabelSet(self.names, {case: self.cases[case] for case in cases})

    def told(self) -> str:
        """One line: how much is known, and where it comes from."""
        origins = dict.fromkeys(ORIGINS[one.origin] for one in self.cases.values())
        counts = "; ".join(
            f"{name} present in {one.present} slices, absent in {one.absent}, unknown "
            f"in {one.unknown}"
            for name, one in self.counts().items()
        )
        return (
            f"image-level labels of {len(self.cases)} cases from "
            f"{' and '.join(origins) or 'nowhere'}: {counts}"
        )


def learnable(labels: LabelSet, where: str, *, absent: bool = True) -> LabelSet:
    """Return labels from which every structure can be told, or refuse them.

    Parameters
    ----------
    labels : LabelSet
    where : str
        What the labels are of, as an error tells it: "split train of DIR".
    absent : bool
        Whether slices without a structure are needed, as a classifier does.

    Raises
    ------
    UserError
        There is no slice, or a structure that is not known of any, or without a slice
        in which it is present, or one in which it is absent, if that is needed.
    """
    if not len(labels.states):
        raise UserError(f"{where} has no slice with image-level labels; give it some")
    for name, count in labels.counts().items():
        if count.unknown == count.slices:
            raise UserError(
                f"{where}: whether {name} is there is unknown in all {count.slices} "
                "slices; say it of some slices, or leave the class out"
            )
        if not count.present:
            raise UserError(
                f"{where}: {name} is present in no slice (absent in {count.absent}, "
                f"unknown in {count.unknown}); a classifier needs slices with and "
                "without it"
                if absent
                else f"{where}: {name} is present in no slice (absent in "
                f"{count.absent}, unknown in {count.unknown}); give some that show it"
            )
        if absent and not count.absent:
            told = (
                "every slice" if not count.unknown else "every slice that is labelled"
            )
            raise UserError(
                f"{where}: {name} is present in {told} ({count.present}) and absent "
                "in none; a classifier needs slices with and without it"
            )
    return labels
