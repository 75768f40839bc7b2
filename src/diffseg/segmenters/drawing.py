"""Drawing members: noise, a chain of denoising, one member after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from diffseg.segmenters.denoiser import Denoiser, Evaluation
from diffseg.segmenters.members import BLOCK_VOXELS, Members
from diffseg.segmenters.noise import StackNoise
from diffseg.segmenters.source import Drawn, Slab


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


class Ensemble:
    """Members of a diffusion model: a `MemberSource`; make one for every request.

    Their noise follows from the seed and the member alone: neither the batch nor
    the block nor the number of members changes it.

    Parameters
    ----------
    network : CompactUNet
    card : ModelCard
    device : str
    batch_voxels, block_voxels : int, optional
        See `Members`.
    """

    def __init__(
        self,
        network: CompactUNet,
        card: ModelCard,
        device: str,
        *,
        batch_voxels: int | None = None,
        block_voxels: int = BLOCK_VOXELS,
    ) -> None:
        self._network, self._sampling = network, card.sampling
        self._members = Members(
            network,
            card,
            device,
            batch_voxels=batch_voxels,
            block_voxels=block_voxels,
        )

    def __call__(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[Drawn]:
        """Draw members (K, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        sampling, shape = self._sampling, image.shape[1:]
        correlation = sampling.slice_correlation
        plane = (self._network.classes, *shape[1:])
        stack = StackNoise(seed, plane, correlation)

        def noise(mine: Sequence[int], planes: range, draw: int) -> Tensor:
            if self._network.dims == 2:
                return stack(mine, draw, planes)
            whole = (self._network.classes, *shape)
            return member_noise(
                seed, mine, draw, whole, slice_axis=1, correlation=correlation
            )

        def answer(denoiser: Denoiser, mine: Sequence[int], on: range) -> Evaluation:
            return _last(sampling, steps, denoiser, partial(noise, mine, on))

        return self._members.draw(image, members, answer)


def draw_members(
    network: CompactUNet,
    card: ModelCard,
    image: NDArray[np.float32],
    device: str,
    *,
    members: int,
    steps: int,
    seed: int,
    batch_voxels: int | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Draw an ensemble of a diffusion model, whole member by whole member.

    Parameters
    ----------
    image : (C, Z, Y, X) float32 ndarray
        Prepared image.

    Yields
    ------
    (K, Z, Y, X) float32 ndarray
        Class probabilities of one member, background first.
    """
    ensemble = Ensemble(
        network,
        card,
        device,
        batch_voxels=batch_voxels,
        block_voxels=image.size,
    )
    return whole_members(ensemble(image, members=members, steps=steps, seed=seed))


def whole_members(drawn: Iterable[Drawn]) -> Iterator[NDArray[np.float32]]:
    """The members among what a source yields that does not cut them."""
    for piece in drawn:
        if isinstance(piece, Slab):
            yield piece.probability
        elif isinstance(piece, np.ndarray):
            yield piece


def _last(
    sampling: Sampling, steps: int, denoiser: Denoiser, noise: Noise
) -> Evaluation:
    """Probabilities at the end of a chain over masks in [-1, 1]: (M, K, Z, Y, X)."""
    schedule = noise_schedule(sampling.schedule, sampling.timesteps)
    asked: list[tuple[Tensor, Tensor]] = []

    # A sampler yields every estimate before it goes on from it. So the estimate may
    # be promised first, and filled in, breath by breath, when the sampler yields it.
    def promised(x: Tensor, t: Tensor) -> Tensor:
        asked.append((x, t))
        return torch.empty_like(x)

    estimate: Tensor | None = None
    for estimate in chain(sampling, schedule, steps, promised, noise):
        probabilities = yield from denoiser.evaluate(*asked.pop())
        torch.sub(2 * probabilities, 1, out=estimate)
    assert estimate is not None
    return (estimate + 1) / 2
