"""One member's look at some slices: what they show, and where."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import NoiseSchedule
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.networks.cldf import Cldf
from diffseg.segmenters.weak.clusters import clustered
from diffseg.segmenters.weak.features import (
    ClassifierMaps,
    DiffusionMaps,
    FieldOf,
    MapSource,
    mean_maps,
)

States = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How a member looks at slices.

    Parameters
    ----------
    network : Cldf
    schedule : NoiseSchedule
    timesteps : tuple of int
        Its noise levels.
    """

    network: Cldf
    schedule: NoiseSchedule
    timesteps: tuple[int, ...]

    @property
    def maps(self) -> MapSource:
        """Where its features of pixels come from."""
        net = self.network
        if net.features == "classifier":
            return ClassifierMaps(net.classifier, self.schedule, net.blocks)
        return DiffusionMaps(net.diffusion, self.schedule, net.blocks)

    def shown(self, image: Tensor, noise: FieldOf) -> NDArray[np.float32]:
        """Probability (B, K) that slices (B, C, Y, X) show each class.

        The noisy classifier's logits, averaged over the noise levels.
        """
        logits = [
            self.network.classifier(
                self.schedule.add_noise(image, noise(index), _at(timestep, image)),
                _at(timestep, image),
            ).float()
            for index, timestep in enumerate(self.timesteps)
        ]
        mean = torch.stack(logits).mean(0)
        present = mean.softmax(2)[..., 1].cpu().numpy()
        return cast("NDArray[np.float32]", present)

    def embeddings(self, image: Tensor, states: Tensor, noise: FieldOf) -> Tensor:
        """Embeddings (B, E, Y, X) float32 of all pixels of slices (B, C, Y, X)."""
        maps = mean_maps(self.maps, image, states, self.timesteps, noise)
        return self.network.decoder.from_maps(maps, image.shape[2:]).float()


def settled(said: States, shown: NDArray[np.float32], gate: float) -> States:
    """States (B, K) with nothing left unknown.

    What was said stands; else a class is present where it is likely enough.
    """
    found = np.where(shown >= gate, PRESENT, ABSENT).astype(np.uint8)
    return np.where(said == UNKNOWN, found, said).astype(np.uint8)


def probabilities(
    embeddings: NDArray[np.float32],
    states: States,
    network: Cldf,
    source: np.random.Generator,
) -> NDArray[np.float32]:
    """Class probabilities (K + 1, Y, X) of one slice, background first.

    Parameters
    ----------
    embeddings : (E, Y, X) float32 ndarray
    states : (K,) uint8 ndarray
        Classes to look for; a slice that shows none is background.
    network : Cldf
        Its references and K-means' settings.
    source : np.random.Generator
    """
    size = embeddings.shape[1:]
    found = np.zeros((len(states) + 1, *size), np.float32)
    wanted = [0, *(1 + np.flatnonzero(states == PRESENT))]
    if len(wanted) == 1:
        found[0] = 1
        return found
    flat = embeddings.reshape(len(embeddings), -1).T
    references = network.references.float().cpu().numpy()[wanted]
    shares = clustered(
        flat,
        references,
        source,
        temperature=network.temperature,
        starts=network.starts,
        iterations=network.iterations,
    )
    found[wanted] = shares.T.reshape(len(wanted), *size)
    return found


def looked_at(
    look: Look,
    image: Tensor,
    said: States,
    noise: FieldOf,
    source_of: Callable[[int], np.random.Generator],
    size: Sequence[int],
) -> Generator[None, None, Tensor]:
    """One member's class probabilities of a batch of slices.

    Yields None between a network's evaluations. Of slices that show nothing no feature
    is computed.

    Parameters
    ----------
    look : Look
    image : (B, C, Y', X') Tensor
        On the network's device.
    said : (B, K) uint8 ndarray
        What is known of the slices; indices into
        `diffseg.domain.slice_labels.CODES`.
    noise : function
        Gives the field of the i-th noise level.
    source_of : function
        Gives the random numbers of a slice, by its place in the batch.
    size : (Y, X)
        What is answered for, from the first row and column on.

    Returns
    -------
    (B, K + 1, Y, X) float32 Tensor
    """
    network, states = look.network, said
    if (said == UNKNOWN).any():
        states = settled(said, look.shown(image, noise), network.gate)
        yield None
    out = np.zeros((len(image), network.classes + 1, *size), np.float32)
    out[:, 0] = 1
    some = np.flatnonzero((states == PRESENT).any(axis=1))
    if some.size:
        index = torch.from_numpy(some).to(image.device)
        told = torch.from_numpy(states[some].astype(np.int64)).to(image.device)
        embedded = look.embeddings(image[index], told, lambda i: noise(i)[index])
        cut = embedded[..., : size[0], : size[1]].cpu().numpy()
        yield None
        for place, one in zip(some.tolist(), cut, strict=True):
            out[place] = probabilities(one, states[place], network, source_of(place))
    return torch.from_numpy(out)


def _at(timestep: int, image: Tensor) -> Tensor:
    return torch.full((len(image),), timestep, device=image.device)
