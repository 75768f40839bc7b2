"""What a method has to offer the pipeline: members of an ensemble, piece by piece."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, Protocol

import numpy as np

from diffseg.progress import Progress, Result
from diffseg.segmenters.intensity import Floats

# Stage of a `Progress` that tells of exhausted memory; it becomes a warning.
MEMORY = "memory"
# Stage of one that tells of something else to know; it becomes a warning, too.
NOTICE = "notice"


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """One member's probabilities in some neighbouring planes of the image.

    Parameters
    ----------
    start : int
        First plane.
    probability : (K, n, Y, X) float32 ndarray in [0, 1]
        Background first, summing to 1.
    """

    start: int
    probability: Floats

    @property
    def stop(self) -> int:
        """The plane after the last."""
        return self.start + int(self.probability.shape[1])

    @property
    def planes(self) -> range:
        """Which planes of the image."""
        return range(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Step:
    """A chain of several steps is at one of them.

    Parameters
    ----------
    done, total : int
        Steps of the chain, and how many are behind it.
    members : tuple of int
        Whose chain it is, by their index; they are drawn together.
    ready : int
        Members of the same planes that are drawn, but not yielded yet.
    planes : range
        Which planes of the image.
    """

    done: int
    total: int
    members: tuple[int, ...] = ()
    ready: int = 0
    planes: range = range(0)

    @property
    def share(self) -> float:
        """How much is done of what is not yielded yet, in members of these planes."""
        return self.ready + len(self.members) * self.done / self.total

    def told(self, members: int, planes: int) -> str:
        """Say it in words, of an image of so many planes and so many members."""
        words = [f"step {self.done + 1} of {self.total}"]
        if members > 1:
            drawn = [member + 1 for member in self.members]
            words.append(f"{_counted('member', drawn)} of {members}")
        if len(self.planes) != planes:
            seen = range(self.planes.start + 1, self.planes.stop + 1)
            words.append(f"{_counted('slice', seen)} of {planes}")
        return ", ".join(words)


def _counted(what: str, numbers: Sequence[int]) -> str:
    """Say which: "member 2", "members 1 to 5", or "3 members" with gaps."""
    first, last, count = numbers[0], numbers[-1], len(numbers)
    if count == 1:
        return f"{what} {first}"
    if last - first + 1 == count:
        return f"{what}s {first} to {last}"
    return f"{count} {what}s"


def told_whose(
    work: Generator[Step | None, None, Result],
    members: Sequence[int],
    ready: int,
    planes: range,
) -> Generator[Step | None, None, Result]:
    """Carry `work` on, and say with every `Step` of it whose it is."""
    try:
        while True:
            try:
                piece = next(work)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            if piece is not None:
                piece = replace(
                    piece, members=tuple(members), ready=ready, planes=planes
                )
            yield piece
    finally:
        work.close()


Drawn = Floats | Slab | Step | Progress | None
"""What a source yields; see `MemberSource`."""


class MemberSource(Protocol):
    """Draws members of an ensemble for a prepared image."""

    def __call__(
        self, image: Floats, *, members: int, steps: int, seed: int
    ) -> Iterator[Drawn]:
        """Yield each member's class probabilities, in order of member index.

        That is all a method must do. One that takes long may yield more:

        - None, a sign of life: nothing is finished, but here the work can be
          cancelled. Best after every evaluation of a network;
        - a `Step` of a chain, before it begins: it moves the progress on;
        - a `Progress` that is worth a word; of stage ``memory`` or ``notice`` it
          becomes a warning of the proposal;
        - `Slab` in place of whole members: the first planes of all members, then
          the planes after them, to the last. What is finished is shown.

        A method over 2 dimensions may also take `planes`, a range: then it draws
        those alone, as it would among all of them. Of another method all planes are
        drawn, and those that are not wanted are left out.

        Parameters
        ----------
        image : (C, Z, Y, X) float32 ndarray

        Yields
        ------
        (K, Z, Y, X) float32 ndarray in [0, 1], background first, summing to 1.
        """


def drawn_of(
    source: MemberSource,
    image: Floats,
    planes: range,
    *,
    members: int,
    steps: int,
    seed: int,
) -> Iterator[Drawn]:
    """Ask a source for some planes of an image; see `MemberSource`."""
    asked: dict[str, Any] = {"members": members, "steps": steps, "seed": seed}
    if planes == range(image.shape[1]):
        return source(image, **asked)
    if "planes" in signature(source).parameters:
        asked["planes"] = planes
        return source(image, **asked)
    return _only(source(image, **asked), planes)


def _only(drawn: Iterator[Drawn], planes: range) -> Iterator[Drawn]:
    """What is drawn of all planes, without those that are not wanted."""
    try:
        for piece in drawn:
            if isinstance(piece, np.ndarray):
                yield piece[:, planes.start : planes.stop]
                continue
            if not isinstance(piece, Slab | Step):
                yield piece
                continue
            of = piece.planes
            both = range(max(of.start, planes.start), min(of.stop, planes.stop))
            if not both:
                yield None  # nothing to tell of, yet a sign of life
            elif isinstance(piece, Step):
                yield replace(piece, planes=both)
            else:
                within = slice(both.start - of.start, both.stop - of.start)
                yield Slab(both.start, piece.probability[:, within])
    finally:
        close = getattr(drawn, "close", None)
        if close is not None:
            close()
