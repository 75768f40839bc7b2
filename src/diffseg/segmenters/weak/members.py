"""Members of a weak method for one image, slice by slice, within the memory there is.

Members differ in their noise, in the noise levels that they look at, and in the starts
of their K-means. Blocks of slices are finished one after another, so that memory does
not grow with their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffseg.diffusion import generator, schedule_of
from diffseg.domain import ModelCard
from diffseg.domain.slice_labels import ABSENT
from diffseg.networks import fast_layout
from diffseg.networks.conditioned import Conditioned
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.progress import Progress
from diffseg.segmenters.denoiser import Evaluation, dtype_of, padded, with_context
from diffseg.segmenters.groups import (
    Flip,
    flipped,
    in_groups,
    in_turn,
    one_group,
    too_little_memory,
    went_smaller,
)
from diffseg.segmenters.means import first_means, placed, smaller
from diffseg.segmenters.members import BLOCK_VOXELS, blocks
from diffseg.segmenters.noise import StackNoise
from diffseg.segmenters.source import Drawn, Slab, Step
from diffseg.segmenters.weak.features import with_border
from diffseg.segmenters.weak.local import local_maps
from diffseg.segmenters.weak.looking import (
    Answer,
    Look,
    Looking,
    Slices,
    States,
    looked_at,
)

_STARTS, _LEVELS = 1, 2  # keys that part a member's choices from one another


class WeakMembers:
    """Draws members of a weak method: a `MemberSource`; make one for every request.

    Parameters
    ----------
    network : Looking
    card : ModelCard
    device : str
    answer : Answer
        What the method does with slices that show something.
    said : (K,) or (Z, K) uint8 ndarray, optional
        What is known of the image's slices, all alike or each in the image's own order
        of planes: indices into `diffseg.domain.slice_labels.CODES`.
    batch_voxels : int, optional
        Voxels of slices at once; what suits the device without it.
    block_voxels : int
        Of the slices that are finished together.
    """

    def __init__(
        self,
        network: Looking,
        card: ModelCard,
        device: str,
        answer: Answer,
        *,
        said: States | None = None,
        batch_voxels: int | None = None,
        block_voxels: int = BLOCK_VOXELS,
    ) -> None:
        self._network, self._card, self._answer = network, card, answer
        self._schedule = schedule_of(card.sampling)
        nothing = np.zeros(network.classes, np.uint8)
        self._said = nothing if said is None else said
        self._block_voxels = block_voxels
        self.means = first_means(
            device, dtype_of(cast("Conditioned", network)), None, batch_voxels
        )
        self._last_batch = 1

    def __call__(
        self,
        image: NDArray[np.float32],
        *,
        members: int,
        steps: int,
        seed: int,
        planes: range | None = None,
    ) -> Iterator[Drawn]:
        """Draw members (K + 1, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        flips = self._card.preparation.flips
        sizes = padded(image.shape[2:], self._network.multiple)
        context = self._card.preparation.context
        channels = len(image) * (2 * context + 1)
        noise = StackNoise(
            seed, (channels, *sizes), self._card.sampling.slice_correlation
        )
        said = np.broadcast_to(self._said, (image.shape[1], self._network.classes))
        # What the local classifier says is the same for all members of a block.
        local: dict[Flip, dict[range, Tensor]] = {}

        def compute(flip: Flip, mine: Sequence[int], on: range) -> Evaluation:
            turned = flipped(image, flip)
            shown = said[::-1] if 0 in flip else said
            return self._members(
                turned, shown, in_turn(on, flip), mine, steps, seed, noise,
                local.setdefault(flip, {}),
            )  # fmt: skip

        def group(on: range, first: int) -> Iterator[Slab | Step | None]:
            # One of each flip at a time: a member's slices fill the batch.
            stop = min(members, first + len(flips))
            return one_group(on, range(first, stop), flips, compute)

        runs = blocks(image.shape[1:], 2, self._block_voxels, steps, planes)
        return in_groups(runs, members, group, self._step_down, local.clear)

    @torch.inference_mode()
    def _members(
        self,
        image: NDArray[np.float32],
        said: States,
        planes: range,
        members: Sequence[int],
        steps: int,
        seed: int,
        noise: StackNoise,
        held: dict[range, Tensor],
    ) -> Evaluation:
        """Probabilities (M, K + 1, n, Y, X) in planes, in the order they are given."""
        network = cast("Looking", placed(cast("nn.Module", self._network), self.means))
        size = image.shape[2:]
        # Planes are named as in the image; in the turned one they stand the other way.
        last = image.shape[1] - 1
        at = [last - plane for plane in planes] if planes.step < 0 else list(planes)
        asked = network.local if (said[at] != ABSENT).any() else None
        if asked is not None and planes not in held:
            maps = partial(self._local, asked, image)
            held[planes] = local_maps(maps, said, at, network.local_slices)
        found = []
        for number, member in enumerate(members):
            levels = levels_of(network.timesteps, steps, seed, member)
            look = Look(network, self._schedule, levels, steps)
            parts = []
            for batch in self._batches(len(planes), math.prod(size)):
                yield Step(
                    number * len(planes) + batch.start, len(members) * len(planes)
                )
                some = planes[batch]
                fields = [
                    self._placed(noise([member], i, some)[0].movedim(1, 0))
                    for i in range(len(levels))
                ]
                slices = Slices(
                    self._slices(image, at[batch]),
                    said[at[batch]],
                    fields.__getitem__,
                    partial(starts_of, seed, member, some),
                    size,
                    held[planes][batch].to(self.means.device) if asked else None,
                )
                parts.append((yield from looked_at(look, self._answer, slices)))
            found.append(torch.cat(parts).movedim(0, 1))
        return torch.stack(found)

    def _local(
        self, network: LocalClassifier, image: NDArray[np.float32], at: Sequence[int]
    ) -> Tensor:
        """Maps (B, K, y, x) of a local classifier."""
        return network.activations(network.stages(self._slices(image, at)))

    def _slices(self, image: NDArray[np.float32], at: Sequence[int]) -> Tensor:
        """Slices (B, C, Y', X') as the network sees them."""
        array = torch.from_numpy(np.ascontiguousarray(image))
        context = self._card.preparation.context
        stack = torch.cat([with_context(array, context, range(z, z + 1)) for z in at])
        return self._placed(with_border(stack, self._network.multiple))

    def _placed(self, batch: Tensor) -> Tensor:
        batch = batch.to(self.means.device, self.means.dtype)
        return batch.contiguous(memory_format=fast_layout(2))

    def _batches(self, count: int, voxels: int) -> Iterator[slice]:
        most = self.means.most(voxels)
        for start in range(0, count, most):
            self._last_batch = min(most, count - start)
            yield slice(start, start + self._last_batch)

    def _step_down(self, trouble: str) -> Progress:
        """Take the next smaller means and say so; `DiffsegError` if there are none."""
        before = self.means
        after = smaller(before, (1, 1), self._last_batch)  # tiles are not to be cut
        if after is None:
            whole = self._card.preparation.size is not None
            raise too_little_memory("slice", shown_whole=whole)
        self.means = after
        return went_smaller(before, after, 2, trouble)


def levels_of(
    timesteps: Sequence[int], steps: int, seed: int, member: int
) -> tuple[int, ...]:
    """Noise levels of a member: as many of the network's as it has steps, in order."""
    if steps >= len(timesteps):
        return tuple(timesteps)
    order = torch.randperm(
        len(timesteps), generator=generator(seed, member, 0, _LEVELS)
    )
    return tuple(timesteps[i] for i in sorted(order[:steps].tolist()))


def starts_of(
    seed: int, member: int, planes: Sequence[int], place: int
) -> np.random.Generator:
    """Random numbers of a member's K-means in the slice at a place of a batch."""
    return np.random.default_rng([seed, member, planes[place], _STARTS])
