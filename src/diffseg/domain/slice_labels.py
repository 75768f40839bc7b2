"""Image-level labels, slice by slice: what is known of each structure in each slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.labels import ImageLabels, Presence
from diffseg.errors import UserError, nearest

CODES = (Presence.UNKNOWN, Presence.PRESENT, Presence.ABSENT)
"""What 0, 1 and 2 stand for in an array of states."""
UNKNOWN, PRESENT, ABSENT = range(3)

ORIGINS = {
    "manifest": "the manifest's labels",
    "ranges": "a table of slice ranges",
    "dicom": "DICOM fields",
    "mask": "masks, reduced to labels",
    "project": "a project",
    "given": "what was given",
}
"""Where labels can come from, and how that is told."""

States = NDArray[np.uint8]


class Said(Protocol):
    """Something that was said of one structure in an image."""

    @property
    def state(self) -> Presence:
        """What was said."""
        ...

    @property
    def slices(self) -> tuple[int, int] | None:
        """Half-open range of planes; None: the whole image."""
        ...


def added_up(said: Iterable[Said], planes: int) -> tuple[Presence, States]:
    """Add up what was said of one structure; later words stand over earlier ones.

    That a structure is absent from the image says so of every slice. That it is
    present says so of no slice in particular, unless there is only one. A slice in
    which it is present makes it present in the image; an image of which every slice
    is said to be without it, is without it.

    Parameters
    ----------
    said : iterable of Said
        In the order in which it was said.
    planes : int
        Slices of the image, >= 1.

    Returns
    -------
    whole : Presence
        Of the image.
    slices : (planes,) uint8 ndarray
        Indices into `CODES`.
    """
    slices = np.zeros(planes, np.uint8)
    by_whole = np.zeros(planes, np.bool_)
    whole = Presence.UNKNOWN
    for one in said:
        code = CODES.index(one.state)
        if one.slices is not None:
            box = slice(*one.slices)
            slices[box], by_whole[box] = code, False
            continue
        whole = one.state
        if whole is Presence.PRESENT and planes > 1:
            slices[by_whole] = 0
            by_whole[:] = False
        else:
            slices[:], by_whole[:] = code, True
    if (slices == PRESENT).any():
        return Presence.PRESENT, slices
    if (slices == ABSENT).all():
        return Presence.ABSENT, slices
    # "Absent" no longer stands where a slice has been said to be otherwise since.
    return (whole if whole is Presence.PRESENT else Presence.UNKNOWN), slices


@dataclass(frozen=True, slots=True, eq=False)
class SliceLabels:
    """Image-level labels of each slice of one image.

    Parameters
    ----------
    names : tuple of K str
        Structures, in order of class index.
    states : (Z, K) uint8 ndarray
        Indices into `CODES`: 0 unknown, 1 present, 2 absent.
    origin : str
        Where they come from, one of `ORIGINS`.
    whole : tuple of K Presence
        Of the image: a structure can be known to be in it, and in none of its slices
        for sure.

    Raises
    ------
    ValueError
        The states are no such array, or the origin is not known.
    """

    names: tuple[str, ...]
    states: States
    origin: str = "given"
    whole: tuple[Presence, ...] = ()

    def __post_init__(self) -> None:
        if self.states.ndim != 2 or self.states.shape[1] != len(self.names):
            raise ValueError(f"states {self.states.shape} are not (Z, {self.names})")
        if self.states.size and self.states.max() > ABSENT:
            raise ValueError(f"a state is {self.states.max()}, not 0, 1 or 2")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin {self.origin!r} is not one of {list(ORIGINS)}")
        kept = np.array(self.states, np.uint8)
        kept.setflags(write=False)
        object.__setattr__(self, "states", kept)
        whole = self.whole or tuple(_whole(column) for column in kept.T)
        object.__setattr__(self, "whole", whole)

    @classmethod
    def of_image(
        cls,
        labels: ImageLabels,
        names: Sequence[str],
        planes: int,
        origin: str = "given",
    ) -> SliceLabels:
        """Labels of slices, as far as those of the whole image tell them."""
        told = {name: [_Whole(labels[name])] for name in names}
        return cls.of_said(told, names, planes, origin)

    @classmethod
    def of_said(
        cls,
        said: Mapping[str, Iterable[Said]],
        names: Sequence[str],
        planes: int,
        origin: str,
    ) -> SliceLabels:
        """Add up what was said of each structure; see `added_up`."""
        found = [added_up(said.get(name, ()), planes) for name in names]
        states = np.stack([slices for _, slices in found], axis=1)
        return cls(tuple(names), states, origin, tuple(whole for whole, _ in found))

    @property
    def planes(self) -> int:
        """Slices of the image."""
        return len(self.states)

    @property
    def image(self) -> ImageLabels:
        """What is known of the whole image, as a `Request` takes it."""
        pairs = zip(self.names, self.whole, strict=True)
        return ImageLabels({name: one for name, one in pairs if one is not CODES[0]})

    def of(self, name: str) -> States:
        """States (Z,) of one structure; `UserError` lists the known names."""
        if name not in self.names:
            raise UserError(
                f"label {name!r} is not one of {', '.join(self.names)}"
                + nearest(name, self.names)
            )
        return self.states[:, self.names.index(name)]

    def among(self, names: Sequence[str]) -> SliceLabels:
        """These labels for other structures: of those not named here nothing is known.

        Raises
        ------
        UserError
            Something is known of a structure that is not one of `names`.
        """
        for name, column in zip(self.names, self.states.T, strict=True):
            if name not in names and column.any():
                raise UserError(
                    f"label {name!r} is not one of {', '.join(names)}"
                    + nearest(name, names)
                )
        states = np.zeros((self.planes, len(names)), np.uint8)
        for index, name in enumerate(names):
            if name in self.names:
                states[:, index] = self.of(name)
        return SliceLabels(tuple(names), states, self.origin)

    def ranges(self) -> Iterator[tuple[str, Presence, int, int]]:
        """Name, state, first and stop of each run of slices of which one is known."""
        for name, column in zip(self.names, self.states.T, strict=True):
            edges = np.flatnonzero(np.diff(column)) + 1
            for first, stop in zip(
                [0, *edges.tolist()], [*edges.tolist(), len(column)], strict=True
            ):
                if column[first] != UNKNOWN:
                    yield name, CODES[column[first]], first, stop

    def over(self, other: SliceLabels) -> SliceLabels:
        """These labels where they are known, else those of `other`.

        Raises
        ------
        UserError
            A slice is present by one and absent by the other: one of them is wrong.
        """
        if (self.names, self.planes) != (other.names, other.planes):
            raise ValueError("labels of other structures or slices")
        mine, known = self.states, self.states != UNKNOWN
        clash = known & (other.states != UNKNOWN) & (mine != other.states)
        if clash.any():
            plane, index = (int(at) for at in np.argwhere(clash)[0])
            raise UserError(
                f"slice {plane}: {self.names[index]} is "
                f"{CODES[mine[plane, index]].value} by {ORIGINS[self.origin]} and "
                f"{CODES[other.states[plane, index]].value} by "
                f"{ORIGINS[other.origin]}; mend one of them"
            )
        return replace(self, states=np.where(known, mine, other.states), whole=())


@dataclass(frozen=True, slots=True)
class _Whole:
    """Something said of a whole image."""

    state: Presence
    slices: None = None


def _whole(column: States) -> Presence:
    if (column == PRESENT).any():
        return Presence.PRESENT
    return Presence.ABSENT if (column == ABSENT).all() else Presence.UNKNOWN
