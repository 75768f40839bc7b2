"""`feedforward`: any of the networks with nothing to denoise, to be measured by (E1).

In the noisy mask's place, at the last timestep, stand zeros or noise, as the card's
`sampling.input` says. The output is read as logits: softmax where background is a
channel; where a network has one channel for each class but background, each has its
sigmoid, and background is the rest. A learned variance is not looked at.

With zeros, members are the test-time flips of the card, in turn: asking for more
repeats them and changes nothing. With noise each member has a draw of its own too. One
forward pass makes a member, whatever the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned
from diffseg.segmenters.denoiser import Denoiser, Evaluation
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.members import BLOCK_VOXELS, Members
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.readout import Readout
from diffseg.segmenters.source import Drawn, MemberSource, Slab


class FeedForward(NetworkSegmenter):
    """A feed-forward segmenter with its weights, on a device."""

    __slots__ = ()

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request."""
        card, sampling = self.card, self.card.sampling
        if sampling.prediction != "classes":
            raise UserError(
                f"model {card.id}: a feedforward model puts out logits: its card's "
                f"prediction must be classes, not {sampling.prediction}"
            )
        # From pure noise to the answer in one step, whatever the sampler was.
        plain = sampling.model_copy(update={"sampler": "restart"})
        card = card.model_copy(update={"sampling": plain})
        if sampling.input == "zeros":
            return Flips(self.network, card, self.device, block_voxels=block_voxels)
        return Noises(self.network, card, self.device, block_voxels=block_voxels)

    def evaluations(self, members: int, steps: int) -> tuple[int, int]:
        """How many members differ, and how often a mask is evaluated."""
        del steps
        if self.card.sampling.input == "noise":
            return members, members
        different = min(members, len(self.card.preparation.flips))
        return different, different


class Noises(Ensemble):
    """Answers to noise alone: an ensemble of one step, whatever is asked for."""

    def __call__(
        self,
        image: NDArray[np.float32],
        *,
        members: int,
        steps: int,
        seed: int,
        planes: range | None = None,
    ) -> Iterator[Drawn]:
        """Draw members (K, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        del steps  # nothing is repeated
        return super().__call__(
            image, members=members, steps=1, seed=seed, planes=planes
        )


class Flips:
    """Answers to the flipped image: a `MemberSource`; make one for every request."""

    def __init__(
        self,
        network: Conditioned,
        card: ModelCard,
        device: str,
        *,
        block_voxels: int = BLOCK_VOXELS,
    ) -> None:
        self._card, self._readout = card, Readout.of(card, network)
        self._members = Members(
            network, card, device, read=self._readout.read, block_voxels=block_voxels
        )

    def __call__(
        self,
        image: NDArray[np.float32],
        *,
        members: int,
        steps: int,
        seed: int,
        planes: range | None = None,
    ) -> Iterator[Drawn]:
        """Draw members (K, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        del steps, seed  # nothing is drawn and nothing repeated
        sizes, t = image.shape[2:], self._card.sampling.timesteps - 1
        readout = self._readout

        def answer(denoiser: Denoiser, mine: Sequence[int], on: range) -> Evaluation:
            nothing = torch.zeros(len(mine), readout.channels, len(on), *sizes)
            shares = yield from denoiser.evaluate(nothing, torch.full((len(mine),), t))
            return readout.completed(shares)

        different = min(members, len(self._card.preparation.flips))
        block: list[Slab] = []
        for piece in self._members.draw(image, different, answer, planes=planes):
            yield piece
            if isinstance(piece, Slab):
                block.append(piece)
            if len(block) == different:
                for member in range(different, members):
                    yield block[member % different]
                block.clear()
