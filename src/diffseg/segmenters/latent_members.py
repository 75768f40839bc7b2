"""Members of a latent diffusion model for one image, with as much memory as there is.

Blocks of slices are finished one after another. Where memory is exhausted the work
goes on with smaller means: fewer slices at once, half precision, the CPU. There are no
tiles: a latent network sees a slice as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import schedule_of
from diffseg.diffusion.samplers import Noise
from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.progress import Progress
from diffseg.segmenters.denoiser import Evaluation, dtype_of, padded
from diffseg.segmenters.drawing import chain
from diffseg.segmenters.groups import (
    Flip,
    flipped,
    in_groups,
    in_turn,
    mirrored,
    one_group,
    too_little_memory,
    went_smaller,
)
from diffseg.segmenters.latent_slices import LatentNetwork, LatentSlices
from diffseg.segmenters.means import first_means, smaller
from diffseg.segmenters.members import BLOCK_VOXELS, blocks
from diffseg.segmenters.noise import StackNoise
from diffseg.segmenters.readout import Readout
from diffseg.segmenters.source import Drawn, Slab, Step


class LatentMembers:
    """Draws members in a latent: a `MemberSource`; make one for every request.

    Their noise follows from the seed, the member and the slice alone: neither the
    batch nor the block nor the number of members changes it.

    Parameters
    ----------
    network : LatentNetwork
    card : ModelCard
    device : str
    batch_voxels : int, optional
        Voxels of slices at once; what suits the device without it.
    block_voxels : int
        Of the slices that are finished together.

    Raises
    ------
    UserError
        The card asks for what a latent network does not do.
    """

    def __init__(
        self,
        network: LatentNetwork,
        card: ModelCard,
        device: str,
        *,
        batch_voxels: int | None = None,
        block_voxels: int = BLOCK_VOXELS,
    ) -> None:
        self._network, self._card = network, card
        self._readout = checked_readout(card, network)
        self._block_voxels = block_voxels
        dtype = dtype_of(network)
        self.means = first_means(device, dtype, None, batch_voxels)
        self._slices: dict[Flip, LatentSlices] = {}
        self._busy: LatentSlices | None = None

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
        network, flips = self._network, self._card.preparation.flips
        sizes = padded(image.shape[2:], network.multiple)
        plane = (network.latent_channels, *(n // network.factor for n in sizes))
        noise = StackNoise(seed, plane, self._card.sampling.slice_correlation)

        def compute(flip: Flip, mine: Sequence[int], on: range) -> Evaluation:
            slices = self._seen(image, on, flip)
            chained = partial(noise, mine, planes=in_turn(on, flip))
            return _last(self._readout, steps, slices, chained)

        def group(on: range, first: int) -> Iterator[Slab | Step | None]:
            each = max(1, self.means.most(math.prod(sizes)) // len(on))
            stop = min(members, first + len(flips) * each)
            return one_group(on, range(first, stop), flips, compute)

        runs = blocks(image.shape[1:], 2, self._block_voxels, steps, planes)
        return in_groups(runs, members, group, self._step_down, self._slices.clear)

    def _seen(
        self, image: NDArray[np.float32], planes: range, flip: Flip
    ) -> LatentSlices:
        """The planes of the flipped image; their latents are kept for this block."""
        if flip not in self._slices:
            self._slices[flip] = LatentSlices(
                self._network,
                flipped(image, flip),
                mirrored(planes, image.shape[1], flip),
                context=self._card.preparation.context,
                means=self.means,
            )
        self._busy = self._slices[flip]
        return self._busy

    def _step_down(self, trouble: str) -> Progress:
        """Take the next smaller means and say so.

        Raises
        ------
        DiffsegError
            There are none.
        """
        before, busy = self.means, self._busy
        assert busy is not None
        after = smaller(before, (1, 1), busy.last_batch)  # tiles are not to be cut
        if after is None:
            whole = self._card.preparation.size is not None
            raise too_little_memory("slice", shown_whole=whole)
        self.means = after
        self._busy = busy = None
        self._slices.clear()
        return went_smaller(before, after, 2, trouble)


@torch.inference_mode()
def _last(
    readout: Readout, steps: int, slices: LatentSlices, noise: Noise
) -> Evaluation:
    """Probabilities (M, K + 1, n, Y, X) at the end of a chain over latents."""
    asked: list[tuple[Tensor, Tensor]] = []

    # As in `drawing`: a sampler yields every estimate before it goes on from it, so
    # that it may be promised first and filled in, batch by batch, when it is yielded.
    def promised(x: Tensor, t: Tensor) -> Tensor:
        asked.append((x, t))
        return torch.empty_like(x)

    estimate: Tensor | None = None
    estimates = chain(readout.sampling, readout.schedule, steps, promised, noise)
    for done, estimate in enumerate(estimates):
        if steps > 1:
            yield Step(done, steps)
        x0 = yield from slices.x0(*asked.pop(), readout)
        estimate.copy_(x0)
    assert estimate is not None
    return (yield from slices.decoded(estimate, readout))


def checked_readout(card: ModelCard, network: LatentNetwork) -> Readout:
    """Return how a latent network's output is read, by its card.

    Raises
    ------
    UserError
        The card asks for what a latent network does not do.
    """
    sampling, preparation = card.sampling, card.preparation
    what = f"model {card.id} (method latent)"
    if not hasattr(network, "decode"):
        raise UserError(f"{what} needs a network that decodes: latent_diffusion")
    if network.classes != len(card.labels):
        raise UserError(
            f"{what}: its network has {network.classes} foreground classes, its card "
            f"{len(card.labels)}; set network.classes"
        )
    if preparation.dims != 2 or preparation.tile is not None:
        raise UserError(
            f"{what} sees whole slices: give preparation.dims 2 and a size, and no tile"
        )
    if sampling.prediction == "classes":
        raise UserError(
            f"{what} predicts in a latent: give sampling.prediction x0, eps or v, not "
            "classes"
        )
    schedule = schedule_of(sampling)
    if sampling.prediction == "eps" and schedule.alpha_bar[-1] == 0:
        raise UserError(
            f"{what}: schedule {sampling.schedule} ends in noise alone, of which eps "
            "says nothing; predict x0 or v, or take another schedule"
        )
    if sampling.sampler == "ddpm" and sampling.variance == "learned":
        raise UserError(f"{what} learns no variance; give fixed_small or fixed_large")
    return Readout(sampling, schedule, network.latent_channels, background=False)
