"""Noise of a stack of slices that is drawn in runs, the same however it is cut."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffseg.diffusion import generator

# Where more would be kept, what comes before a run is drawn again.
_MOST_KEPT_BYTES = 2**29


class StackNoise:
    """Standard normal noise whose neighbouring slices correlate.

    As `diffseg.diffusion.coherent_noise`: a first-order autoregression from slice
    to slice. The fresh part of each slice follows from the seed, member, draw and
    slice alone, so that a run of slices needs no more than the slice before it,
    which is remembered.

    Parameters
    ----------
    seed : int
    plane : (K, Y, X)
        Extent of one slice.
    correlation : float
        Of neighbouring slices, in [0, 1).
    """

    def __init__(self, seed: int, plane: Sequence[int], correlation: float) -> None:
        if not 0 <= correlation < 1:
            raise ValueError(f"correlation is {correlation}; it must lie in [0, 1)")
        self._seed, self._plane = seed, tuple(plane)
        self._correlation = correlation
        # The last slice of the latest run of each member and draw, and its index.
        self._last: dict[tuple[int, int], tuple[int, Tensor]] = {}

    def __call__(self, members: Sequence[int], draw: int, planes: range) -> Tensor:
        """Noise of several members in a run of slices: (M, K, len(planes), Y, X).

        A run may be given backwards, as a flipped image shows it.
        """
        if planes.step < 0:
            return self(members, draw, planes[::-1]).flip(2)
        runs = [self._run(member, draw, planes) for member in members]
        return torch.stack(runs)

    def _run(self, member: int, draw: int, planes: range) -> Tensor:
        first, before = self._before(member, draw, planes.start)
        slices: list[Tensor] = []
        for plane in range(first, planes.stop):
            fresh = torch.randn(
                self._plane, generator=generator(self._seed, member, draw, plane)
            )
            if before is not None:
                share = (1 - self._correlation**2) ** 0.5
                fresh = self._correlation * before + share * fresh
            if self._correlation:
                before = fresh
            if plane >= planes.start:
                slices.append(fresh)
        self._remember(member, draw, planes.stop - 1, slices[-1])
        return torch.stack(slices, dim=1)

    def _before(self, member: int, draw: int, start: int) -> tuple[int, Tensor | None]:
        """Slice to begin with, and the noise of the one before it."""
        if not self._correlation:
            return start, None
        index, last = self._last.get((member, draw), (-1, None))
        return (start, last) if index == start - 1 else (0, None)

    def _remember(self, member: int, draw: int, plane: int, last: Tensor) -> None:
        bytes_each = last.numel() * last.element_size()
        known = (member, draw) in self._last
        if self._correlation and (
            known or (len(self._last) + 1) * bytes_each <= _MOST_KEPT_BYTES
        ):
            self._last[member, draw] = (plane, last)
