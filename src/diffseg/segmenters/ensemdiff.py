"""`ensemdiff`: an ensemble of draws from a diffusion model that sees the image.

After Wolleb et al. 2022 (implicit image segmentation ensembles), in a compact
configuration: the network predicts x0 of one-hot masks instead of the noise of
binary ones, and answers in one or a few steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Proposal, Request
from diffseg.models import ModelFolder, load_weights
from diffseg.networks import build_network
from diffseg.networks.compact_unet import CompactUNet
from diffseg.progress import Work, run
from diffseg.segmenters.drawing import draw_members
from diffseg.segmenters.pipeline import Host, iter_propose_with


def load_compact(folder: ModelFolder, device: str) -> tuple[CompactUNet, Host]:
    """Network of a model with its verified weights, and where it will answer."""
    began = time.perf_counter()
    config = dict(folder.card.network)
    network = build_network(config.pop("name"), **config)
    network.load_state_dict(load_weights(folder))
    three = folder.card.preparation.dims == 3
    layout = torch.channels_last_3d if three else torch.channels_last
    network = network.to(device, memory_format=layout).eval()  # type: ignore[call-overload]
    seconds = time.perf_counter() - began
    return cast("CompactUNet", network), Host(device, torch.get_num_threads(), seconds)


@dataclass(frozen=True, slots=True, eq=False)
class EnsemDiff:
    """A diffusion segmenter with its weights, on a device."""

    card: ModelCard
    network: CompactUNet
    host: Host

    @classmethod
    def from_model(cls, folder: ModelFolder, device: str) -> EnsemDiff:
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
        return draw_members(
            self.network,
            self.card,
            image,
            self.device,
            members=members,
            steps=steps,
            seed=seed,
        )

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""
        return iter_propose_with(self.card, self.draw, request, self.host)

    def propose(self, request: Request) -> Proposal:
        """Answer a request here and now."""
        return run(self.iter_propose(request))
