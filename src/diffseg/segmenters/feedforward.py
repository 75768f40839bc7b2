"""`feedforward`: the same network with nothing to denoise, the bar to be measured by.

Its members are the test-time flips of the card, in turn: asking for more repeats
them and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import ModelCard
from diffseg.networks.compact_unet import CompactUNet
from diffseg.segmenters.compact import CompactSegmenter
from diffseg.segmenters.denoiser import Denoiser, Evaluation
from diffseg.segmenters.members import BLOCK_VOXELS, Members
from diffseg.segmenters.source import Drawn, MemberSource, Slab


class FeedForward(CompactSegmenter):
    """A feed-forward segmenter with its weights, on a device."""

    __slots__ = ()

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request."""
        return Flips(self.network, self.card, self.device, block_voxels=block_voxels)

    def evaluations(self, members: int, steps: int) -> tuple[int, int]:
        """How many members differ, and how often a mask is evaluated."""
        del steps
        different = min(members, len(self.card.preparation.flips))
        return different, different


class Flips:
    """Answers to the flipped image: a `MemberSource`; make one for every request."""

    def __init__(
        self,
        network: CompactUNet,
        card: ModelCard,
        device: str,
        *,
        block_voxels: int = BLOCK_VOXELS,
    ) -> None:
        self._card, self._classes = card, network.classes
        self._members = Members(network, card, device, block_voxels=block_voxels)

    def __call__(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[Drawn]:
        """Draw members (K, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        del steps, seed  # nothing is drawn and nothing repeated
        sizes, t = image.shape[2:], self._card.sampling.timesteps - 1

        def answer(denoiser: Denoiser, mine: Sequence[int], on: range) -> Evaluation:
            nothing = torch.zeros(len(mine), self._classes, len(on), *sizes)
            return denoiser.evaluate(nothing, torch.full((len(mine),), t))

        different = min(members, len(self._card.preparation.flips))
        block: list[Slab] = []
        for piece in self._members.draw(image, different, answer):
            yield piece
            if isinstance(piece, Slab):
                block.append(piece)
            if len(block) == different:
                for member in range(different, members):
                    yield block[member % different]
                block.clear()
