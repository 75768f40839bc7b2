"""Members that are held to strokes: drawn by a chain, or chosen among many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import generator, member_noise
from diffseg.diffusion.constrained import held, survivors, truncated
from diffseg.domain import ModelCard, Resampling
from diffseg.segmenters.constraint import Constraint
from diffseg.segmenters.constraint_chain import HeldChain
from diffseg.segmenters.denoiser import Denoiser, Evaluation
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.noise import StackNoise
from diffseg.segmenters.source import Drawn, Slab

_CHOICE_KEY = 77  # of the random number that chooses among members


class HeldEnsemble(Ensemble):
    """Members of a diffusion model that agree with the strokes, as a `MemberSource`.

    Parameters
    ----------
    ensemble : Ensemble
        Of the model, made to finish all its slices in one block.
    card : ModelCard
    constraint : Constraint
        On the planes that will be asked for.
    level : float
        Share of the schedule in (0, 1] that chains begin at.
    options : Resampling
    """

    def __init__(
        self,
        ensemble: Ensemble,
        card: ModelCard,
        constraint: Constraint,
        level: float,
        options: Resampling,
    ) -> None:
        self._network, self._finish = ensemble._network, ensemble._finish
        self._members = ensemble._members
        schedule = truncated(ensemble._readout.schedule, level)
        self._readout = replace(ensemble._readout, schedule=schedule)
        self._flips = card.preparation.flips
        self._constraint, self._options = constraint, options
        self.likely: dict[int, float] = {}
        """Mean log-likelihood of the strokes, of each member drawn so far."""

    def __call__(
        self,
        image: NDArray[np.float32],
        *,
        members: int,
        steps: int,
        seed: int,
        planes: range | None = None,
    ) -> Iterator[Drawn]:
        """Draw members (K, n, Y, X) of the planes of a prepared image (C, Z, Y, X)."""
        if not self._options.weighs:
            yield from self._draw(image, members, steps, seed, planes)
            return
        many = members * self._options.particles
        drawn: list[Slab] = []
        for piece in self._draw(image, many, steps, seed, planes):
            if isinstance(piece, Slab):
                drawn.append(piece)
                piece = None
            yield piece
        weights = torch.tensor([self.likely[m] for m in range(many)])
        weights = self._options.sharpness * weights
        for index in survivors(weights, members, generator(seed, _CHOICE_KEY)):
            yield drawn[index]

    def _draw(
        self,
        image: NDArray[np.float32],
        members: int,
        steps: int,
        seed: int,
        planes: range | None,
    ) -> Iterator[Drawn]:
        readout, shape = self._readout, image.shape[1:]
        correlation = readout.sampling.slice_correlation
        stack = StackNoise(seed, (readout.channels, *shape[1:]), correlation)
        whole = (readout.channels, *shape)

        def noise(mine: Sequence[int], on: range, draw: int) -> Tensor:
            if self._network.dims == 2:
                return stack(mine, draw, on)
            return member_noise(
                seed, mine, draw, whole, slice_axis=1, correlation=correlation
            )

        def answer(denoiser: Denoiser, mine: Sequence[int], on: range) -> Evaluation:
            flip = self._flips[mine[0] % len(self._flips)]
            seen = self._constraint.seen(on, flip)
            walk = HeldChain(readout, seen, self._options, partial(noise, mine, on))
            end = yield from walk.walk(steps, denoiser)
            self.likely |= zip(mine, end.likely.tolist(), strict=True)
            shares = readout.shares(end.mask)
            if self._finish is not None:
                shares = self._finish(shares, end.beside)
            return held(readout.completed(shares), seen.truth, seen.known)

        return self._members.draw(image, members, answer, steps, planes)
