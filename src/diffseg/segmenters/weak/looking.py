"""One member's look at some slices: what they show, and where."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import NoiseSchedule
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.networks.noisy_classifier import NoisyClassifier
from diffseg.segmenters.weak.features import FieldOf

States = NDArray[np.uint8]
Floats = NDArray[np.float32]
SourceOf = Callable[[int], np.random.Generator]
"""Random numbers of a slice, by its place in the batch."""


class Looking(Protocol):
    """A network of several that answers from image-level labels.

    Attributes
    ----------
    classifier : NoisyClassifier
        Says what a slice shows where nobody has said so.
    classes : int
        Foreground classes K.
    gate : float
        Probability from which a class is looked for in such a slice.
    timesteps : tuple of int
        Noise levels that members choose from.
    multiple : int
        Sides of slices must be multiples of this.
    local : LocalClassifier or None
        Says it in its place, and where.
    local_slices : float
        Over how many slices its maps are averaged; see
        `diffseg.segmenters.weak.local.local_maps`.
    """

    classifier: NoisyClassifier
    classes: int
    gate: float
    timesteps: tuple[int, ...]
    local: LocalClassifier | None
    local_slices: float

    @property
    def multiple(self) -> int:
        """Sides of slices must be multiples of this."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """A batch of slices, and what a member's answer to them takes.

    Parameters
    ----------
    image : (B, C, Y', X') Tensor
        On the network's device.
    states : (B, K) uint8 ndarray
        What is known of them; indices into `diffseg.domain.slice_labels.CODES`.
    noise : function
        Gives the field of the i-th noise level.
    source_of : function
    size : (Y, X)
        What is answered for, from the first row and column on.
    local : (B, K, y, x) Tensor, optional
        Log-odds of the local classifier, at its own resolution of Y' x X'.
    """

    image: Tensor
    states: States
    noise: FieldOf
    source_of: SourceOf
    size: Sequence[int]
    local: Tensor | None = None

    def some(self, places: NDArray[np.intp], states: States) -> Slices:
        """Those at places of the batch, of which other states (P, K) are known."""
        index = torch.from_numpy(places).to(self.image.device)
        return Slices(
            self.image[index],
            states,
            lambda i: self.noise(i)[index],
            lambda place: self.source_of(int(places[place])),
            self.size,
            None if self.local is None else self.local[index],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How a member looks at slices.

    Parameters
    ----------
    network : Looking
    schedule : NoiseSchedule
    timesteps : tuple of int
        Its noise levels.
    steps : int
        As many as it was asked for.
    """

    network: Looking
    schedule: NoiseSchedule
    timesteps: tuple[int, ...]
    steps: int

    def shown(self, slices: Slices) -> Floats:
        """Probability (B, K) that slices show each class.

        The local classifier's, or the noisy one's, its logits averaged over the noise
        levels.
        """
        image = slices.image
        if self.network.local is not None:
            told = self.network.local(image).float().sigmoid()
            return cast("Floats", told.cpu().numpy())
        logits = [
            self.network.classifier(
                self.schedule.add_noise(image, slices.noise(i), _at(timestep, image)),
                _at(timestep, image),
            ).float()
            for i, timestep in enumerate(self.timesteps)
        ]
        mean = torch.stack(logits).mean(0)
        present = mean.softmax(2)[..., 1].cpu().numpy()
        return cast("Floats", present)


Answer = Callable[[Look, Slices], Floats]
"""What one weak method differs in from another: class probabilities (B, K + 1, Y, X),
background first, of slices that show something, each class present or absent."""


def settled(said: States, shown: Floats, gate: float) -> States:
    """States (B, K) with nothing left unknown.

    What was said stands; else a class is present where it is likely enough.
    """
    found = np.where(shown >= gate, PRESENT, ABSENT).astype(np.uint8)
    return np.where(said == UNKNOWN, found, said).astype(np.uint8)


def looked_at(
    look: Look, answer: Answer, slices: Slices
) -> Generator[None, None, Tensor]:
    """One member's class probabilities (B, K + 1, Y, X) of a batch of slices, float32.

    Yields None between a network's evaluations. Slices that show nothing are
    background, and nothing more is computed of them.
    """
    network, states = look.network, slices.states
    if (states == UNKNOWN).any():
        states = settled(states, look.shown(slices), network.gate)
        yield None
    count = len(slices.image)
    out = np.zeros((count, network.classes + 1, *slices.size), np.float32)
    out[:, 0] = 1
    places = np.flatnonzero((states == PRESENT).any(axis=1))
    if places.size:
        out[places] = answer(look, slices.some(places, states[places]))
        yield None
    return torch.from_numpy(out)


def _at(timestep: int, image: Tensor) -> Tensor:
    return torch.full((len(image),), timestep, device=image.device)
