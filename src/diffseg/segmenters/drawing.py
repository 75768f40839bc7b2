"""Drawing members: noise, a chain of denoising, one member after another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import (
    NoiseSchedule,
    ddim,
    ddpm,
    dpm_solver_pp,
    member_noise,
    restart,
)
from diffseg.diffusion.samplers import Chain, Denoise, Noise
from diffseg.domain import ModelCard, Sampling
from diffseg.networks.conditioned import Conditioned
from diffseg.segmenters.denoiser import Denoiser, Evaluation
from diffseg.segmenters.members import BLOCK_VOXELS, Members
from diffseg.segmenters.noise import StackNoise
from diffseg.segmenters.readout import Readout
from diffseg.segmenters.source import Drawn, Slab, Step

Finish = Callable[[Tensor, Tensor], Tensor]
"""What becomes of each channel's probabilities (M, C, n, Y, X) at a chain's end.

Beside them it is given what the network's last output held beside the mask: as many
channels.
"""


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
        return ddpm(denoise, noise, schedule, steps, variance=sampling.variance)
    if sampling.sampler == "ddim":
        return ddim(denoise, noise, schedule, steps)
    return dpm_solver_pp(denoise, noise, schedule, steps)


class Ensemble:
    """Members of a diffusion model: a `MemberSource`; make one for every request.

    Their noise follows from the seed and the member alone: neither the batch nor
    the block nor the number of members changes it.

    Parameters
    ----------
    network : Conditioned
    card : ModelCard
    device : str
    batch_voxels, block_voxels : int, optional
        See `Members`.
    finish : function, optional
        What a method does with its members at the end, if the network's output holds
        as many further channels after all others.

    Raises
    ------
    UserError
        The network does not fit the card; see `Readout`.
    """

    def __init__(
        self,
        network: Conditioned,
        card: ModelCard,
        device: str,
        *,
        batch_voxels: int | None = None,
        block_voxels: int = BLOCK_VOXELS,
        finish: Finish | None = None,
    ) -> None:
        self._network, self._finish = network, finish
        further = network.mask_channels if finish is not None else 0
        self._readout = Readout.of(card, network, further)
        self._members = Members(
            network,
            card,
            device,
            read=self._readout.read,
            batch_voxels=batch_voxels,
            block_voxels=block_voxels,
        )

    def __call__(
        self,
        image: NDArray[np.float32],
        *,
        members: int,
        steps: int,
        seed: int,
        planes: range | None = None,
    ) -> Iterator[Drawn]:
        """Draw members (K, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        readout, shape = self._readout, image.shape[1:]
        correlation = readout.sampling.slice_correlation
        plane = (readout.channels, *shape[1:])
        stack = StackNoise(seed, plane, correlation)

        def noise(mine: Sequence[int], planes: range, draw: int) -> Tensor:
            if self._network.dims == 2:
                return stack(mine, draw, planes)
            whole = (readout.channels, *shape)
            return member_noise(
                seed, mine, draw, whole, slice_axis=1, correlation=correlation
            )

        def answer(denoiser: Denoiser, mine: Sequence[int], on: range) -> Evaluation:
            last, beside = yield from _last(
                readout, steps, denoiser, partial(noise, mine, on)
            )
            shares = readout.shares(last)
            if self._finish is not None:
                shares = self._finish(shares, beside)
            return readout.completed(shares)

        return self._members.draw(image, members, answer, steps, planes)


def draw_members(
    network: Conditioned,
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
        block_voxels=image.size * steps,  # all planes in one
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
    readout: Readout, steps: int, denoiser: Denoiser, noise: Noise
) -> Generator[Step | None, None, tuple[Tensor, Tensor]]:
    """The mask at the end of a chain, and what the last output held beside it.

    The mask is (M, C, Z, Y, X), in the mask's range.
    """
    asked: list[tuple[Tensor, Tensor, Tensor]] = []

    # A sampler yields every estimate before it goes on from it. So the estimate may
    # be promised first, and filled in, breath by breath, when the sampler yields it.
    def promised(x: Tensor, t: Tensor) -> Tensor:
        promise = x.new_empty(len(x), readout.width, *x.shape[2:])
        asked.append((x, t, promise))
        return promise

    last: tuple[Tensor, Tensor] | None = None
    estimates = chain(readout.sampling, readout.schedule, steps, promised, noise)
    for done, estimate in enumerate(estimates):
        if steps > 1:
            yield Step(done, steps)
        x, t, promise = asked.pop()
        output = yield from denoiser.evaluate(x, t)
        promise.copy_(readout.estimate(output, x, t))
        last = (estimate, output[:, readout.width :])
    assert last is not None
    return last
