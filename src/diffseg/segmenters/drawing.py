"""Drawing members: noise, a chain of denoising, one member after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import (
    NoiseSchedule,
    ddim,
    ddpm,
    dpm_solver_pp,
    member_noise,
    noise_schedule,
    restart,
)
from diffseg.diffusion.samplers import Chain, Denoise, Noise
from diffseg.domain import ModelCard, Sampling
from diffseg.networks.compact_unet import CompactUNet
from diffseg.segmenters.denoiser import BATCH_VOXELS, Denoiser


def restart_levels(
    schedule: NoiseSchedule, sampling: Sampling, steps: int
) -> list[int]:
    """Timesteps of a restarted chain: T-1, then from `restart` down to its half."""
    shares = np.linspace(sampling.restart, sampling.restart / 2, steps)[: steps - 1]
    return [schedule.timesteps - 1, *(schedule.at(share) for share in shares)]


def chain(
    sampling: Sampling,
    schedule: NoiseSchedule,
    steps: int,
    denoise: Denoise,
    noise: Noise,
) -> Chain:
    """The chain that the card's sampling describes."""
    if sampling.sampler == "restart":
        return restart(
            denoise, noise, schedule, restart_levels(schedule, sampling, steps)
        )
    if sampling.sampler == "ddpm":
        return ddpm(denoise, noise, schedule, steps)
    if sampling.sampler == "ddim":
        return ddim(denoise, noise, schedule, steps)
    return dpm_solver_pp(denoise, noise, schedule, steps)


def flipped(array: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
    """Flip a (C, Z, Y, X) array along spatial axes (0 is Z)."""
    spatial = tuple(axis + 1 for axis in axes)
    # A copy: NumPy calls a flipped axis of length 1 contiguous, torch refuses it.
    return np.flip(array, spatial).copy() if spatial else array


@torch.inference_mode()
def draw_members(
    network: CompactUNet,
    card: ModelCard,
    image: NDArray[np.float32],
    device: str,
    *,
    members: int,
    steps: int,
    seed: int,
    batch_voxels: int = BATCH_VOXELS,
) -> Iterator[NDArray[np.float32]]:
    """Draw an ensemble of a diffusion model, member by member.

    Member m sees the image flipped by the card's m-th test-time flip, in turn, and
    noise that follows from the seed and m alone: neither the batch nor the number
    of members changes it.

    Parameters
    ----------
    image : (C, Z, Y, X) float32 ndarray
        Prepared image.

    Yields
    ------
    (K, Z, Y, X) float32 ndarray
        Class probabilities of one member, background first.
    """
    preparation = card.preparation
    shape = (network.classes, *image.shape[1:])
    flips = preparation.flips
    together = len(flips) * max(1, batch_voxels // int(np.prod(image.shape[1:])))
    denoisers = [
        Denoiser(
            network,
            flipped(image, flip),
            device,
            context=preparation.context,
            tile=preparation.tile,
            batch_voxels=batch_voxels,
        )
        for flip in flips
    ]
    for start in range(0, members, together):
        group = range(start, min(members, start + together))
        drawn: dict[int, NDArray[np.float32]] = {}
        for turn, flip in enumerate(flips):
            mine = [m for m in group if m % len(flips) == turn]
            if mine:
                noise = partial(
                    _noise, seed, mine, shape, card.sampling.slice_correlation
                )
                answers = _last(card.sampling, steps, denoisers[turn], noise).numpy()
                for member, answer in zip(mine, answers, strict=True):
                    drawn[member] = flipped(answer, flip)
        for member in group:
            yield drawn.pop(member)


def _noise(
    seed: int,
    members: Sequence[int],
    shape: Sequence[int],
    correlation: float,
    draw: int,
) -> Tensor:
    return member_noise(
        seed, members, draw, shape, slice_axis=1, correlation=correlation
    )


def _last(sampling: Sampling, steps: int, denoiser: Denoiser, noise: Noise) -> Tensor:
    """Probabilities at the end of a chain over masks in [-1, 1]: (M, K, Z, Y, X)."""
    schedule = noise_schedule(sampling.schedule, sampling.timesteps)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return 2 * denoiser(x, t) - 1

    estimates = chain(sampling, schedule, steps, denoise, noise)
    return (deque(estimates, maxlen=1).pop() + 1) / 2
