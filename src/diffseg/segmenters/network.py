"""What segmenters around one network share: all but how members are drawn."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from diffseg.domain import ModelCard, Proposal, Request
from diffseg.errors import UserError
from diffseg.models import ModelFolder, load_weights
from diffseg.networks import build_network, fast_layout
from diffseg.networks.conditioned import Conditioned
from diffseg.progress import Work, run
from diffseg.segmenters.drawing import whole_members
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.pipeline import Host, iter_propose_with
from diffseg.segmenters.source import MemberSource


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSegmenter(ABC):
    """A network that denoises masks, with its card, on a device."""

    card: ModelCard
    network: Conditioned
    host: Host

    @classmethod
    def from_model(cls, folder: ModelFolder, device: str) -> Self:
        """Load the model in `folder`, its weights verified, onto `device`.

        Raises
        ------
        UserError
            The network is none that denoises masks, or does not fit the card.
        """
        began = time.perf_counter()
        card, config = folder.card, dict(folder.card.network)
        name = config.pop("name")
        network = build_network(name, **config)
        if not isinstance(network, Conditioned):
            raise UserError(
                f"model {card.id}: network {name} denoises no mask given an image, "
                f"as method {card.method} needs"
            )
        network.load_state_dict(load_weights(folder))
        in_fast_layout(network, card.preparation.dims).to(device).eval()
        seconds = time.perf_counter() - began
        loaded = cls(card, network, Host(device, torch.get_num_threads(), seconds))
        loaded.source()  # so that a card that does not fit is refused here
        return loaded

    @property
    def device(self) -> str:
        """Where the network runs: cpu, cuda or mps."""
        return self.host.device

    @property
    def probed(self) -> Conditioned:
        """What is timed, on noisy masks as large as the image, to tell how long."""
        return self.network

    @abstractmethod
    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request.

        Parameters
        ----------
        block_voxels : int
            Of the slices that a network over 2 dimensions finishes together.

        Raises
        ------
        UserError
            The network does not fit the card.
        """

    def evaluations(self, members: int, steps: int) -> tuple[int, int]:
        """How many members differ, and how often a noisy mask is evaluated."""
        return members, members * steps

    def draw(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[NDArray[np.float32]]:
        """Whole members (K, Z, Y, X) of one prepared image (C, Z, Y, X), in turn."""
        source = self.source(block_voxels=image.size * steps)  # all planes in one
        return whole_members(source(image, members=members, steps=steps, seed=seed))

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels.

        With strokes, the mask is drawn anew around them; see `resampling`.
        """
        if request.strokes is not None:
            # Here, as it draws with what is built upon this module.
            from diffseg.segmenters.resampling import iter_resample

            return iter_resample(self, request)
        return iter_propose_with(self.card, self.source(), request, self.host)

    def propose(self, request: Request) -> Proposal:
        """Answer a request here and now."""
        return run(self.iter_propose(request))


def in_fast_layout(network: object, dims: int) -> nn.Module:
    """Lay the weights of convolutions out as they run fastest; others stay."""
    assert isinstance(network, nn.Module)
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    for module in network.modules():
        if isinstance(module, kind):
            module.to(memory_format=fast_layout(dims))
    return network
