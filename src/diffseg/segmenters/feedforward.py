"""`feedforward`: the same network with nothing to denoise, the bar to be measured by.

Its members are the test-time flips of the card, in turn: asking for more repeats
them and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Proposal, Request
from diffseg.models import ModelFolder
from diffseg.networks.compact_unet import CompactUNet
from diffseg.progress import Work, run
from diffseg.segmenters.denoiser import Denoiser
from diffseg.segmenters.drawing import flipped
from diffseg.segmenters.ensemdiff import load_compact
from diffseg.segmenters.pipeline import Host, iter_propose_with


@dataclass(frozen=True, slots=True, eq=False)
class FeedForward:
    """A feed-forward segmenter with its weights, on a device."""

    card: ModelCard
    network: CompactUNet
    host: Host

    @classmethod
    def from_model(cls, folder: ModelFolder, device: str) -> FeedForward:
        """Load the model in `folder` onto `device`."""
        return cls(folder.card, *load_compact(folder, device))

    @property
    def device(self) -> str:
        """Where the network runs: cpu, cuda or mps."""
        return self.host.device

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

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""
        return iter_propose_with(self.card, self.draw, request, self.host)

    def propose(self, request: Request) -> Proposal:
        """Answer a request here and now."""
        return run(self.iter_propose(request))
