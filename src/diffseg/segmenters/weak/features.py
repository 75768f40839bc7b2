"""What a frozen network knows of the pixels of slices.

Features of a pixel are the maps of several blocks at its place, averaged over noise
levels (CLDF, section 2; the blocks are Baranchuk et al. 2022's). Maps are kept at
their own resolutions: a 256 x 256 slice at full size would be 1,408 channels of 65,536
pixels, 370 MB. Averaging comes before interpolation, which is linear, so it makes no
difference, and only the pixels that are asked for are interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion import NoiseSchedule
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.noisy_classifier import NoisyClassifier

FieldOf = Callable[[int], Tensor]
"""The i-th standard normal field (B, C, Y, X) of a batch of slices."""


class MapSource(Protocol):
    """Where features come from: a network, and which of its blocks."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each map."""
        ...

    @property
    def noisy(self) -> bool:
        """Whether it is shown noisy slices; if not, one look is enough."""
        ...

    def __call__(
        self, image: Tensor, states: Tensor, timestep: int, noise: Tensor
    ) -> list[Tensor]:
        """Maps (B, C_b, Y_b, X_b) of slices at a noise level.

        Parameters
        ----------
        image : (B, C, Y, X) Tensor
        states : (B, K) int64 Tensor
            What each slice is said to show; indices into
            `diffseg.domain.slice_labels.CODES`.
        timestep : int
        noise : (B, C, Y, X) Tensor
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DiffusionMaps:
    """Blocks on the way up of a class-conditional diffusion model (CLDF)."""

    network: ClassUNet
    schedule: NoiseSchedule
    blocks: tuple[int, ...]
    noisy: bool = True

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each map."""
        return self.network.feature_widths(self.blocks)

    def __call__(
        self, image: Tensor, states: Tensor, timestep: int, noise: Tensor
    ) -> list[Tensor]:
        """Maps of slices at a noise level; see `MapSource`."""
        t = torch.full((len(image),), timestep, device=image.device)
        x = self.schedule.add_noise(image, noise, t)
        condition = self.network.condition(states).to(x.dtype)
        return self.network.feature_maps(x, t, condition, self.blocks)


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierMaps:
    """Blocks on the way down of the noisy classifier (CLDF's UNet Encoder)."""

    network: NoisyClassifier
    schedule: NoiseSchedule
    blocks: tuple[int, ...]
    noisy: bool = True

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each map."""
        return self.network.feature_widths(self.blocks)

    def __call__(
        self, image: Tensor, states: Tensor, timestep: int, noise: Tensor
    ) -> list[Tensor]:
        """Maps of slices at a noise level; see `MapSource`."""
        del states
        t = torch.full((len(image),), timestep, device=image.device)
        x = self.schedule.add_noise(image, noise, t)
        return self.network.feature_maps(x, t, self.blocks)


@dataclass(frozen=True, slots=True, eq=False)
class CleanMaps:
    """Any other encoder, as a ResNet: maps of the slice itself.

    Parameters
    ----------
    encode : function
        From slices (B, C, Y, X) to maps (B, C_b, Y_b, X_b).
    widths : tuple of int
        Channels of each of them.
    """

    encode: Callable[[Tensor], Sequence[Tensor]]
    widths: tuple[int, ...]
    noisy: bool = False

    def __call__(
        self, image: Tensor, states: Tensor, timestep: int, noise: Tensor
    ) -> list[Tensor]:
        """Maps of slices, whatever the noise level; see `MapSource`."""
        del states, timestep, noise
        return list(self.encode(image))


def mean_maps(
    source: MapSource,
    image: Tensor,
    states: Tensor,
    timesteps: Sequence[int],
    noise: FieldOf,
) -> list[Tensor]:
    """Maps of slices, averaged over noise levels, each at its own resolution.

    Parameters
    ----------
    source : MapSource
    image : (B, C, Y, X) Tensor
    states : (B, K) int64 Tensor
        See `MapSource`.
    timesteps : sequence of int
    noise : function
        Gives the field of the i-th timestep.

    Returns
    -------
    list of (B, C_b, Y_b, X_b) Tensor
    """
    levels = timesteps if source.noisy else timesteps[:1]
    means: list[Tensor] = []
    for index, timestep in enumerate(levels):
        maps = source(image, states, timestep, noise(index))
        if not means:
            means = [torch.zeros_like(one) for one in maps]
        for mean, one in zip(means, maps, strict=True):
            mean.add_(one, alpha=1 / len(levels))
    return means


def gathered(maps: Sequence[Tensor], points: Tensor, size: Sequence[int]) -> Tensor:
    """Features of some pixels of one slice.

    The same as maps brought to full size (bilinear, pixel centres in place) and
    joined, at those pixels; nothing else is interpolated.

    Parameters
    ----------
    maps : sequence of (C_b, Y_b, X_b) Tensor
    points : (P, 2) int64 Tensor
        Row and column of each pixel.
    size : (Y, X)
        Of the slice.

    Returns
    -------
    (P, D) Tensor
    """
    # From pixel indices to [-1, 1], where -1 and 1 are the edges of the outer pixels.
    sides = torch.tensor(tuple(size), device=points.device)
    at = (2 * points + 1) / sides - 1
    grid = at.flip(1)[None, :, None].to(maps[0])  # x before y
    found = [
        functional.grid_sample(
            one[None], grid, "bilinear", padding_mode="border", align_corners=False
        )[0, :, :, 0]
        for one in maps
    ]
    return torch.cat(found).T


def with_border(images: Tensor, multiple: int) -> Tensor:
    """Slices (B, C, Y, X) with sides that are multiples, going on as their border."""
    below, right = (-n % multiple for n in images.shape[2:])
    return functional.pad(images, (0, right, 0, below), mode="replicate")
