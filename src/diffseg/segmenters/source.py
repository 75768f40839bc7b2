"""What a method has to offer the pipeline: members of an ensemble, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from diffseg.progress import Progress
from diffseg.segmenters.intensity import Floats

# Stage of a `Progress` that tells of exhausted memory; it becomes a warning.
MEMORY = "memory"


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


Drawn = Floats | Slab | Progress | None
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
        - a `Progress` that is worth a word; of stage ``memory`` it becomes a
          warning of the proposal;
        - `Slab` in place of whole members: the first planes of all members, then
          the planes after them, to the last. What is finished is shown.

        Parameters
        ----------
        image : (C, Z, Y, X) float32 ndarray

        Yields
        ------
        (K, Z, Y, X) float32 ndarray in [0, 1], background first, summing to 1.
        """
