"""What segmenters around the compact network share: all but how members are drawn."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Proposal, Request
from diffseg.models import ModelFolder, load_weights
from diffseg.networks import build_network, fast_layout
from diffseg.networks.compact_unet import CompactUNet
from diffseg.progress import Work, run
from diffseg.segmenters.drawing import whole_members
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.pipeline import Host, iter_propose_with
from diffseg.segmenters.source import MemberSource


@dataclass(frozen=True, slots=True, eq=False)
class CompactSegmenter(ABC):
    """A compact network with its card, on a device."""

    card: ModelCard
    network: CompactUNet
    host: Host

    @classmethod
    def from_model(cls, folder: ModelFolder, device: str) -> Self:
        """Load the model in `folder`, its weights verified, onto `device`."""
        began = time.perf_counter()
        config = dict(folder.card.network)
        network = build_network(config.pop("name"), **config)
        network.load_state_dict(load_weights(folder))
        layout = fast_layout(folder.card.preparation.dims)
        network = network.to(device, memory_format=layout).eval()  # type: ignore[call-overload]
        seconds = time.perf_counter() - began
        host = Host(device, torch.get_num_threads(), seconds)
        return cls(folder.card, cast("CompactUNet", network), host)

    @property
    def device(self) -> str:
        """Where the network runs: cpu, cuda or mps."""
        return self.host.device

    @abstractmethod
    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request.

        Parameters
        ----------
        block_voxels : int
            Of the slices that a network over 2 dimensions finishes together.
        """

    def evaluations(self, members: int, steps: int) -> tuple[int, int]:
        """How many members differ, and how often a noisy mask is evaluated."""
        return members, members * steps

    def draw(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[NDArray[np.float32]]:
        """Whole members (K, Z, Y, X) of one prepared image (C, Z, Y, X), in turn."""
        source = self.source(block_voxels=image.size)
        return whole_members(source(image, members=members, steps=steps, seed=seed))

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""
        return iter_propose_with(self.card, self.source(), request, self.host)

    def propose(self, request: Request) -> Proposal:
        """Answer a request here and now."""
        return run(self.iter_propose(request))
