"""A slice as both backbones saw it, and the noise that it was looked at from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import generator


@dataclass(frozen=True, slots=True)
class Noise:
    """From which noise an image is looked at, and at which noise levels.

    Parameters
    ----------
    seed, member : int
        All numbers follow from them, the same for every slice.
    timesteps : tuple of int
    """

    seed: int
    member: int
    timesteps: tuple[int, ...]

    def drawn(self, shape: tuple[int, int, int], draws: int) -> Tensor:
        """Standard normal noise (D, Z, y, x)."""
        fields = [
            torch.randn(shape, generator=generator(self.seed, self.member, draw))
            for draw in range(draws)
        ]
        return torch.stack(fields)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is known of a slice before any word is.

    Parameters
    ----------
    patches : (1, N, E) Tensor
    class_token : (1, E) Tensor
    grid : (int, int)
        Rows and columns of the patches.
    affinity : (1, N, N) Tensor, optional
        Mean attention of CLIP's last layers.
    fine : (1, M, M) Tensor, optional
        Finest attention of the diffusion model.
    fine_grid : (int, int), optional
    raw : tuple of (1, N, D) Tensor
        Patches after each block, for a head.
    """

    patches: Tensor
    class_token: Tensor
    grid: tuple[int, int]
    affinity: Tensor | None = None
    fine: Tensor | None = None
    fine_grid: tuple[int, int] | None = None
    raw: tuple[Tensor, ...] = ()


def fitting_size(
    size: tuple[int, int], side: int, unit: tuple[int, int], least: int = 1
) -> tuple[int, int]:
    """Rows and columns at which an image is looked at.

    Its longer side becomes `side`, the other one as long in proportion, both rounded to
    multiples of `unit`, `least` of them at least.
    """
    longer = max(size)
    rows, columns = (
        max(least, round(side * extent / longer / one)) * one
        for extent, one in zip(size, unit, strict=True)
    )
    return rows, columns


def channels_shown(
    plane: NDArray[np.float32], names: Sequence[str], channels: Sequence[str]
) -> Tensor:
    """One or three channels (C, Y, X) of a prepared slice, in [0, 1].

    Parameters
    ----------
    plane : (C, Y, X) float32 ndarray
    names : sequence of str
        Of the channels that are shown; without any one or three are shown as they are,
        and of another number the mean.
    channels : sequence of str
        Names of those that there are.
    """
    if names:
        plane = plane[[channels.index(name) for name in names]]
    elif len(plane) not in (1, 3):
        plane = plane.mean(axis=0, keepdims=True)
    return torch.from_numpy(np.ascontiguousarray(plane)).clamp(0, 1)
