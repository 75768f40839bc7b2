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
    """

    classifier: NoisyClassifier
    classes: int
    gate: float
    timesteps: tuple[int, ...]

    @property
    def multiple(self) -> int:
        """Sides of slices must be multiples of this."""
        ...


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

    def shown(self, image: Tensor, noise: FieldOf) -> Floats:
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
        return cast("Floats", present)


class Answer(Protocol):
    """Where the classes are that slices show: what one weak method differs in."""

    def __call__(
        self,
        look: Look,
        image: Tensor,
        states: States,
        noise: FieldOf,
        source_of: SourceOf,
        size: Sequence[int],
    ) -> Floats:
        """Class probabilities (B, K + 1, Y, X), background first.

        Parameters
        ----------
        look : Look
        image : (B, C, Y', X') Tensor
            Slices that show something.
        states : (B, K) uint8 ndarray
            Present or absent.
        noise : function
            Gives the field of the i-th noise level.
        source_of : function
        size : (Y, X)
            What is answered for, from the first row and column on.
        """
        ...


def settled(said: States, shown: Floats, gate: float) -> States:
    """States (B, K) with nothing left unknown.

    What was said stands; else a class is present where it is likely enough.
    """
    found = np.where(shown >= gate, PRESENT, ABSENT).astype(np.uint8)
    return np.where(said == UNKNOWN, found, said).astype(np.uint8)


def looked_at(
    look: Look,
    answer: Answer,
    image: Tensor,
    said: States,
    noise: FieldOf,
    source_of: SourceOf,
    size: Sequence[int],
) -> Generator[None, None, Tensor]:
    """One member's class probabilities of a batch of slices.

    Yields None between a network's evaluations. Slices that show nothing are
    background, and nothing more is computed of them.

    Parameters
    ----------
    look : Look
    answer : Answer
    image : (B, C, Y', X') Tensor
        On the network's device.
    said : (B, K) uint8 ndarray
        What is known of the slices; indices into
        `diffseg.domain.slice_labels.CODES`.
    noise, source_of, size
        As `Answer` takes them.

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
        out[some] = answer(
            look,
            image[index],
            states[some],
            lambda i: noise(i)[index],
            lambda place: source_of(int(some[place])),
            size,
        )
        yield None
    return torch.from_numpy(out)


def _at(timestep: int, image: Tensor) -> Tensor:
    return torch.full((len(image),), timestep, device=image.device)
