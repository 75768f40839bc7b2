"""`feedforward`: the same network with nothing to denoise, the bar to be measured by.

Its members are the test-time flips of the card, in turn: asking for more repeats
them and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.segmenters.compact import CompactSegmenter
from diffseg.segmenters.denoiser import Denoiser
from diffseg.segmenters.drawing import flipped


class FeedForward(CompactSegmenter):
    """A feed-forward segmenter with its weights, on a device."""

    __slots__ = ()

    def draw(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[NDArray[np.float32]]:
        """Members (K, Z, Y, X) of one prepared image (C, Z, Y, X), one by one."""
        del steps, seed  # nothing is drawn and nothing repeated
        flips = self.card.preparation.flips
        answers: dict[int, NDArray[np.float32]] = {}
        for member in range(members):
            turn = member % len(flips)
            if turn not in answers:
                answers[turn] = self._answer(image, flips[turn])
            yield answers[turn]

    @torch.inference_mode()
    def _answer(
        self, image: NDArray[np.float32], flip: tuple[int, ...]
    ) -> NDArray[np.float32]:
        preparation = self.card.preparation
        denoiser = Denoiser(
            self.network,
            flipped(image, flip),
            self.device,
            context=preparation.context,
            tile=preparation.tile,
        )
        nothing = torch.zeros(1, self.network.classes, *image.shape[1:])
        last = torch.full((1,), self.card.sampling.timesteps - 1)
        return flipped(denoiser(nothing, last)[0].numpy(), flip)
