"""A network as a function of a noisy field, whatever its dimensions and tiles.

Image features are computed once and kept, as far as they fit into memory; noisy masks
of any number of members go through in batches over members (3D) or members x slices
(2D).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks import fast_layout
from diffseg.networks.conditioned import Conditioned, Features
from diffseg.progress import finished
from diffseg.segmenters.features import bytes_of, joined, repeated, selected
from diffseg.segmenters.means import Means, first_means
from diffseg.segmenters.source import Step

Evaluation = Generator[Step | None, None, Tensor]
"""Yields None between evaluations of a network, and returns what it says.

Of a chain it yields a `Step` before each.
"""

Read = Callable[[Tensor], Tensor]
"""Raw output of a network to what may be blended over tiles, float32."""


def tile_starts(size: int, tile: int) -> list[int]:
    """Starts of tiles that cover `size` with at least a quarter of overlap."""
    if size <= tile:
        return [0]
    count = int(np.ceil((size - tile) / (tile * 0.75))) + 1
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def tile_weight(shape: Sequence[int]) -> Tensor:
    """Blending weight of a tile: a Gaussian about its middle, 1 there, never 0."""
    weight = torch.ones(())
    for n in shape:
        along = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (along / (n / 4)) ** 2)
    return weight


def padded(size: Sequence[int], multiple: int) -> list[int]:
    """Sizes rounded up to what the network can take."""
    return [max(1, -(-n // multiple)) * multiple for n in size]


def with_context(image: Tensor, context: int, planes: range | None = None) -> Tensor:
    """Slices with their neighbours as channels: (C, Z, Y, X) -> (Z, C(2c+1), Y, X).

    Beyond the first and last slice, that slice stands in for its neighbours. Of
    `planes`, where they are given, and else of all slices.
    """
    last = image.shape[1] - 1
    index = torch.tensor(planes if planes is not None else range(last + 1))
    offsets = range(-context, context + 1)
    stack = [image[:, (index + o).clamp(0, last)] for o in offsets]
    return torch.cat(stack).movedim(1, 0)


def dtype_of(network: Conditioned) -> torch.dtype:
    """What a network computes in: the type of its first weights."""
    return next(cast("nn.Module", network).parameters()).dtype


class Denoiser:
    """What a network answers to fields (M, C, Z, Y, X) of one image.

    Parameters
    ----------
    network : Conditioned
        On `device`; what it computes in is the type of its weights.
    image : (C, Z, Y, X) float32 ndarray
        Prepared image.
    device : str
    read : function, optional
        What is blended of a raw output (B, C', *S); that itself without it.
    context : int
        Neighbour slices on each side for a 2D network.
    planes : range, optional
        The slices to answer for, of a 2D network; all without it.
    tile : sequence of int or None
        Largest input; larger fields are covered by overlapping tiles whose answers
        are blended, at every step, so that members stay coherent.
    means : Means, optional
        The other limits; those of the device without it. `tile` is not read from it.
    """

    def __init__(
        self,
        network: Conditioned,
        image: NDArray[np.float32],
        device: str,
        *,
        read: Read | None = None,
        context: int = 0,
        planes: range | None = None,
        tile: Sequence[int] | None = None,
        means: Means | None = None,
    ) -> None:
        self.network = network
        self.device = device
        self.means = means or first_means(device, torch.float32, tile)
        self._read = read or Tensor.float
        self._dtype = dtype_of(network)
        array = torch.from_numpy(np.ascontiguousarray(image))
        planes = planes or range(image.shape[1])
        flat = network.dims == 2
        self._images = with_context(array, context, planes) if flat else array[None]
        self._sizes = tuple(self._images.shape[2:])
        whole = padded(self._sizes, network.multiple)
        limit = padded(tile or self._sizes, network.multiple)
        self.tile = tuple(min(a, b) for a, b in zip(whole, limit, strict=True))
        self.last_batch = 1  # how much was, or was to be, computed at once last
        self._features: dict[tuple[int, ...], Features] = {}
        self._kept_bytes = 0
        self._weight = tile_weight(self.tile)

    def __call__(self, noisy: Tensor, t: Tensor) -> Tensor:
        """Answer (M, C', Z, Y, X) to fields at timesteps (M,)."""
        return finished(self.evaluate(noisy, t))

    def evaluate(self, noisy: Tensor, t: Tensor) -> Evaluation:
        """Answer as a call does, but stop for breath after every evaluation."""
        if self.network.dims == 3:
            return (yield from self._blended(noisy, t))
        members, _, planes = noisy.shape[:3]
        flat = noisy.movedim(2, 1).flatten(0, 1)  # [M*Z, C, Y, X]
        out = yield from self._blended(flat, t.repeat_interleave(planes))
        return out.reshape(members, planes, *out.shape[1:]).movedim(1, 2)

    def _tiles(self) -> Iterator[tuple[int, ...]]:
        pairs = zip(self._sizes, self.tile, strict=True)
        return product(*(tile_starts(n, tile) for n, tile in pairs))

    def _blended(self, noisy: Tensor, t: Tensor) -> Evaluation:
        total: Tensor | None = None
        weights = torch.zeros(self._sizes)
        for start in self._tiles():
            box = tuple(
                slice(a, min(a + n, size))
                for a, n, size in zip(start, self.tile, self._sizes, strict=True)
            )
            kept = tuple(slice(0, s.stop - s.start) for s in box)
            field = self._fit(noisy[_within(box)])
            part = yield from self._in_batches(field, t, start)
            weight = self._weight[kept]
            if total is None:
                total = part.new_zeros(*part.shape[:2], *self._sizes)
            total[_within(box)] += weight * part[_within(kept)]
            weights[box] += weight
        assert total is not None
        return total / weights

    def _fit(self, field: Tensor) -> Tensor:
        """Pad a field at its far ends with zeros to the tile's size."""
        pairs = zip(field.shape[2:], self.tile, strict=True)
        missing = [tile - n for n, tile in pairs]
        amounts = [amount for m in reversed(missing) for amount in (0, m)]
        return functional.pad(field, amounts)

    def _in_batches(
        self, noisy: Tensor, t: Tensor, start: tuple[int, ...]
    ) -> Evaluation:
        """Answers of one tile for all members, batch by batch."""
        features = yield from self._encoded(start)
        out: Tensor | None = None
        most = self.means.most(math.prod(self.tile))
        for done in range(0, len(noisy), most):
            part = slice(done, min(done + most, len(noisy)))
            self.last_batch = part.stop - part.start
            answer = self._answered(noisy[part], t[part], features, part)
            if out is None:
                out = answer.new_empty(len(noisy), *answer.shape[1:])
            out[part] = answer
            yield None
        assert out is not None
        return out

    def _answered(
        self, noisy: Tensor, t: Tensor, features: Features, part: slice
    ) -> Tensor:
        if self.network.dims == 3:
            features = repeated(features, len(noisy))
        else:  # a batch over members x slices
            index = torch.arange(part.start, part.stop) % len(self._images)
            features = selected(features, index)
        batch, t = self._placed(noisy), t.to(self.device)
        return self._read(self.network.denoise(batch, t, features)).cpu()

    def _placed(self, batch: Tensor) -> Tensor:
        """A batch on the device, in the layout that convolutions run fastest in."""
        layout = fast_layout(self.network.dims)
        return batch.to(self.device, self._dtype).contiguous(memory_format=layout)

    def _encoded(self, start: tuple[int, ...]) -> Generator[None, None, Features]:
        """Image features of a tile; kept from its first use on, if there is room."""
        if start in self._features:
            return self._features[start]
        box = tuple(slice(a, a + n) for a, n in zip(start, self.tile, strict=True))
        tiles = self._fit(self._images[_within(box)])
        chunk = max(1, self.means.most(math.prod(self.tile)) // 4)
        parts: list[Features] = []
        for images in torch.split(tiles, chunk):
            self.last_batch = len(images)
            parts.append(self.network.encode(self._placed(images)))
            yield None
        features = joined(parts)
        size = bytes_of(features)
        if self._kept_bytes + size <= self.means.kept_bytes:
            self._features[start] = features
            self._kept_bytes += size
        return features


def _within(box: tuple[slice, ...]) -> Any:
    """Index of a box along the last axes."""
    return (..., *box)
