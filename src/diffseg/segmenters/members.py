"""Members of an ensemble for one image: how many at once, tiles, smaller means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffseg.domain import ModelCard
from diffseg.networks.conditioned import Conditioned
from diffseg.progress import Progress
from diffseg.segmenters.denoiser import Denoiser, Evaluation, Read, dtype_of, padded
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
from diffseg.segmenters.means import first_means, placed, smaller
from diffseg.segmenters.source import Slab, Step

# Voxels of the slices that a network over 2 dimensions finishes together: few, so
# that slices appear one after another; enough to fill a batch with their members.
BLOCK_VOXELS = 250_000
# A chain of steps over a block takes as long as so many blocks: they are made smaller,
# up to this, beyond which batches would be too small to be fast.
_MOST_STEPS = 8

Answer = Callable[[Denoiser, Sequence[int], range], Evaluation]
"""Probabilities (M, K, n, Y, X) of members, from planes of the image.

The planes' indices are given in the order in which they stand in the flipped image.
"""


def blocks(
    shape: Sequence[int],
    dims: int,
    voxels: int = BLOCK_VOXELS,
    steps: int = 1,
    planes: range | None = None,
) -> list[range]:
    """Runs of planes (Z, Y, X) that are finished one after another.

    A network over 3 dimensions has one; over 2, as many planes as make `voxels`, or
    a share of them where members take several steps; of `planes` alone, where these
    are given.
    """
    if dims == 3:
        return [range(shape[0])]
    wanted = range(shape[0]) if planes is None else planes
    each = max(1, voxels // (min(steps, _MOST_STEPS) * shape[1] * shape[2]))
    starts = range(wanted.start, wanted.stop, each)
    return [range(start, min(start + each, wanted.stop)) for start in starts]


class Members:
    """A network that answers for members, with as much memory as there is.

    Means that did not suffice once are not tried again: the object remembers, for
    the next image too. Make one for every request.

    Parameters
    ----------
    network : Conditioned
    card : ModelCard
        Its preparation is read.
    device : str
    read : function, optional
        See `Denoiser`.
    batch_voxels : int, optional
        Voxels of noisy masks at once; what suits the device without it.
    block_voxels : int
        See `blocks`.
    """

    def __init__(
        self,
        network: Conditioned,
        card: ModelCard,
        device: str,
        *,
        read: Read | None = None,
        batch_voxels: int | None = None,
        block_voxels: int = BLOCK_VOXELS,
    ) -> None:
        self._network, self._preparation = network, card.preparation
        self._read, self._block_voxels = read, block_voxels
        dtype = dtype_of(network)
        tile = card.preparation.tile
        self.means = first_means(device, dtype, tile, batch_voxels)
        self._denoisers: dict[Flip, Denoiser] = {}
        self._busy: Denoiser | None = None

    def draw(
        self,
        image: NDArray[np.float32],
        members: int,
        answer: Answer,
        steps: int = 1,
        planes: range | None = None,
    ) -> Iterator[Slab | Step | Progress | None]:
        """Draw `members` for an image (C, Z, Y, X); see `MemberSource`.

        Member m sees the image flipped by the card's m-th test-time flip, in turn.
        """
        flips = self._preparation.flips

        def compute(flip: Flip, mine: Sequence[int], on: range) -> Evaluation:
            denoiser = self._denoiser(image, on, flip)
            return _computed(answer, denoiser, mine, in_turn(on, flip))

        def group(on: range, first: int) -> Iterator[Slab | Step | None]:
            most = self._together(image.shape[1:], on)
            # In rounds of equal size: a mask on its own is slow.
            left = -(-(members - first) // len(flips))
            per_flip = -(-left // -(-left // most))
            stop = min(members, first + len(flips) * per_flip)
            return one_group(on, range(first, stop), flips, compute)

        runs = blocks(
            image.shape[1:], self._network.dims, self._block_voxels, steps, planes
        )
        return in_groups(runs, members, group, self._step_down, self._denoisers.clear)

    def _together(self, shape: Sequence[int], planes: range) -> int:
        """How many members of one flip may be computed together."""
        dims, multiple = self._network.dims, self._network.multiple
        masks = self.means.most(math.prod(padded(shape[-dims:], multiple)))
        return masks if dims == 3 else max(1, masks // len(planes))

    def _denoiser(
        self, image: NDArray[np.float32], planes: range, flip: Flip
    ) -> Denoiser:
        if flip not in self._denoisers:
            network = placed(cast("nn.Module", self._network), self.means)
            self._denoisers[flip] = Denoiser(
                cast("Conditioned", network),
                flipped(image, flip),
                self.means.device,
                read=self._read,
                context=self._preparation.context,
                planes=mirrored(planes, image.shape[1], flip),
                tile=self.means.tile,
                means=self.means,
            )
        self._busy = self._denoisers[flip]
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
        tile, batch = busy.tile, busy.last_batch
        after = smaller(before, tile, batch, self._network.multiple)
        if after is None:
            size = " x ".join(map(str, tile))
            whole = self._preparation.size is not None
            raise too_little_memory(f"tile of {size} voxels", shown_whole=whole)
        self.means = after
        self._busy = busy = None
        self._denoisers.clear()
        return went_smaller(before, after, self._network.dims, trouble)


@torch.inference_mode()
def _computed(
    answer: Answer, denoiser: Denoiser, members: Sequence[int], planes: range
) -> Evaluation:
    answers: Tensor = yield from answer(denoiser, members, planes)
    return answers
