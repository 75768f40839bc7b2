"""Which pixels of some slices are sure: from images to maps to a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule, generator
from diffseg.diffusion.gradient_maps import mean_gradient_map
from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.networks.noisy_classifier import NoisyClassifier, log_probability
from diffseg.segmenters.cams import cam_maps
from diffseg.segmenters.cams.sign import is_upside_down
from diffseg.segmenters.weak.features import MapSource
from diffseg.segmenters.weak.thresholds import Floats
from diffseg_training.evenly import evenly
from diffseg_training.labelled import LabelledExample
from diffseg_training.settings.cldf import Gradients
from diffseg_training.weak.selection import Rules, selected

_GRADIENT = 11  # key of random numbers


@dataclass(frozen=True, slots=True, eq=False)
class Teachers:
    """The frozen networks that say where a class is, and what pixels look like.

    Parameters
    ----------
    classifier : NoisyClassifier
        Whose gradient is mapped.
    cam : nn.Module
        Whose activation maps are refined, of the source `cam_source`.
    cam_source : str
        One of `diffseg.segmenters.cams`.
    maps : MapSource
        Of the features.
    schedule : NoiseSchedule
    timesteps : tuple of int
        Noise levels of the features.
    multiple : int
        Sides of what the networks see are multiples of this.
    local : LocalClassifier, optional
        Whose log-odds of the pixels are kept beside their features.
    """

    classifier: NoisyClassifier
    cam: nn.Module
    cam_source: str
    maps: MapSource
    schedule: NoiseSchedule
    timesteps: tuple[int, ...]
    multiple: int
    local: LocalClassifier | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A slice to learn from: which of which example."""

    example: int
    plane: int
    case: str

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.example:06d}-{self.plane:04d}"


def selections(
    plain: Tensor,
    image: Tensor,
    states: Tensor,
    some: Sequence[Place],
    teachers: Teachers,
    gradients: Gradients,
    rules: Rules,
    seed: int,
) -> list[NDArray[np.int16]]:
    """Class of every pixel of which something is sure, (Y, X) of each slice.

    Parameters
    ----------
    plain, image : (B, C, Y, X) and (B, C, Y', X') Tensor
        Slices, and the same with a border.
    states : (B, K) int64 Tensor
    some : sequence of B Place
    teachers, gradients, rules, seed
        As `iter_pixels` has them.
    """
    rows, columns = plain.shape[2:]
    found = [np.full((rows, columns), -1, np.int16) for _ in some]
    maps: dict[int, tuple[Floats, Floats]] = {}
    for index in range(states.shape[1]):
        if not bool((states[:, index] == PRESENT).any()):
            continue
        # A map without a say is not made.
        cam = steep = np.zeros((len(image), *image.shape[2:]), np.float32)
        if rules.fusion != "gradient":
            cam = cam_maps(teachers.cam_source, teachers.cam, plain, index)
        if rules.fusion != "cam":
            steep = gradient_maps(image, index, states.shape[1], some, teachers,
                                  gradients, seed)  # fmt: skip
        maps[index] = cam[:, :rows, :columns], steep[:, :rows, :columns]
    for place, said in enumerate(states.cpu().numpy()):
        shown = [k for k in range(len(said)) if said[k] == PRESENT]
        cams, steep = (np.stack([maps[k][i][place] for k in shown]) for i in range(2))
        one = selected(cams, steep, rules)
        names = np.array([-1, 0, *(k + 1 for k in shown)], np.int16)
        found[place] = names[one + 1]
    return found


def upside_down(
    examples: Sequence[LabelledExample],
    shown: Sequence[Place],
    teachers: Teachers,
    device: str,
) -> list[str]:
    """Names of the classes whose activation maps are low where the class is.

    Asked of the classifier on at most 32 slices; see
    `diffseg.segmenters.cams.sign.is_upside_down`.
    """
    some = evenly(shown, 32)
    looked = [examples[place.example].plane(place.plane) for place in some]
    same = [one for one in looked if one[0].shape == looked[0][0].shape]
    states = torch.stack([said for _, said in same])
    images = torch.stack([image for image, _ in same]).to(device)
    found = []
    for index, name in enumerate(examples[0].labels.names):
        there = images[(states[:, index] == PRESENT).to(device)]
        if len(there):
            maps = cam_maps(teachers.cam_source, teachers.cam, there, index)
            if is_upside_down(teachers.cam, there, maps, index):
                found.append(name)
    return found


def gradient_maps(
    image: Tensor,
    index: int,
    classes: int,
    some: Sequence[Place],
    teachers: Teachers,
    gradients: Gradients,
    seed: int,
) -> Floats:
    """Mean gradient maps (B, Y', X') of one class's presence."""
    told = torch.full((len(image), classes), UNKNOWN, device=image.device)
    told[:, index] = PRESENT

    def score(x: Tensor, t: Tensor) -> Tensor:
        return log_probability(teachers.classifier(x, t).float(), told)

    found = mean_gradient_map(
        score,
        image,
        teachers.schedule,
        gradients.timesteps,
        lambda i: noise_of(image, some, (seed, _GRADIENT, i)),
        draws=gradients.draws,
        sign=gradients.sign,
        equal=gradients.equal,
    )
    maps: Floats = found.cpu().numpy()
    return maps


def noise_of(image: Tensor, some: Sequence[Place], key: tuple[int, ...]) -> Tensor:
    """Noise of a batch, each slice's its own, whatever it is batched with."""
    fields = [
        torch.randn(
            tuple(image.shape[1:]), generator=generator(*key, one.example, one.plane)
        )
        for one in some
    ]
    return torch.stack(fields).to(image)
