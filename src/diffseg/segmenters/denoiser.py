"""A network as a function of a noisy field, whatever its dimensions and tiles.

Image features are computed once and kept; noisy masks of any number of members go
through in batches over members (3D) or members x slices (2D).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffseg.errors import DiffsegError
from diffseg.networks import fast_layout
from diffseg.networks.compact_unet import CompactUNet, ImageFeatures

_LOG = logging.getLogger(__name__)

# Voxels of noisy masks that go through the network at once: what bounds memory.
BATCH_VOXELS = 1_000_000


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


def with_context(image: Tensor, context: int) -> Tensor:
    """Slices with their neighbours as channels: (C, Z, Y, X) -> (Z, C(2c+1), Y, X).

    Beyond the first and last slice, that slice stands in for its neighbours.
    """
    planes = image.shape[1]
    offsets = range(-context, context + 1)
    index = torch.arange(planes)
    stack = [image[:, (index + o).clamp(0, planes - 1)] for o in offsets]
    return torch.cat(stack).movedim(1, 0)


class Denoiser:
    """Class probabilities of the clean mask for fields (M, K, Z, Y, X) of one image.

    Parameters
    ----------
    image : (C, Z, Y, X) float32 ndarray
        Prepared image.
    context : int
        Neighbour slices on each side for a 2D network.
    tile : sequence of int or None
        Largest input; larger fields are covered by overlapping tiles whose
        probabilities are blended, at every step, so that members stay coherent.
    """

    def __init__(
        self,
        network: CompactUNet,
        image: NDArray[np.float32],
        device: str,
        *,
        context: int = 0,
        tile: Sequence[int] | None = None,
        batch_voxels: int = BATCH_VOXELS,
    ) -> None:
        self.network = network
        self.device = device
        self.shape = image.shape[1:]
        self.batch_voxels = batch_voxels
        dims = network.dims
        array = torch.from_numpy(np.ascontiguousarray(image))
        self._images = array[None] if dims == 3 else with_context(array, context)
        sizes = self._images.shape[2:]
        limit = tuple(tile) if tile else tuple(sizes)
        self._tile = tuple(
            min(a, b)
            for a, b in zip(
                padded(sizes, network.multiple),
                padded(limit, network.multiple),
                strict=True,
            )
        )
        self._features: dict[tuple[int, ...], ImageFeatures] = {}
        self._weight = tile_weight(self._tile)

    def __call__(self, noisy: Tensor, t: Tensor) -> Tensor:
        """Probabilities (M, K, Z, Y, X) of fields of that shape at timesteps (M,)."""
        if self.network.dims == 3:
            return self._blended(noisy, t)
        members, _, planes = noisy.shape[:3]
        flat = noisy.movedim(2, 1).flatten(0, 1)  # [M*Z, K, Y, X]
        out = self._blended(flat, t.repeat_interleave(planes))
        return out.reshape(members, planes, *out.shape[1:]).movedim(1, 2)

    def _tiles(self, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
        pairs = zip(sizes, self._tile, strict=True)
        return product(*(tile_starts(n, tile) for n, tile in pairs))

    def _blended(self, noisy: Tensor, t: Tensor) -> Tensor:
        sizes = noisy.shape[2:]
        total = torch.zeros_like(noisy)
        weights = torch.zeros(tuple(sizes))
        for start in self._tiles(sizes):
            box = tuple(
                slice(a, min(a + n, size))
                for a, n, size in zip(start, self._tile, sizes, strict=True)
            )
            kept = tuple(slice(0, s.stop - s.start) for s in box)
            part = self._in_batches(self._fit(noisy[_within(box)]), t, start)
            weight = self._weight[kept]
            total[_within(box)] += weight * part[_within(kept)]
            weights[box] += weight
        return total / weights

    def _fit(self, field: Tensor) -> Tensor:
        """Pad a field at its far ends with zeros to the tile's size."""
        pairs = zip(field.shape[2:], self._tile, strict=True)
        missing = [tile - n for n, tile in pairs]
        amounts = [amount for m in reversed(missing) for amount in (0, m)]
        return functional.pad(field, amounts)

    def _in_batches(self, noisy: Tensor, t: Tensor, start: tuple[int, ...]) -> Tensor:
        """Probabilities of one tile for all members, batch by batch."""
        per_item = int(np.prod(noisy.shape[2:]))
        out = torch.empty_like(noisy)
        done = 0
        while done < len(noisy):
            take = min(max(1, self.batch_voxels // per_item), len(noisy) - done)
            part = slice(done, done + take)
            try:
                features = self._encoded(start)
                out[part] = self._probabilities(noisy[part], t[part], features, part)
            except torch.OutOfMemoryError as err:
                self._halve(take, per_item, err)
                continue
            done += take
        return out

    def _halve(self, take: int, per_item: int, err: Exception) -> None:
        if take == 1:
            raise DiffsegError(
                f"the memory of {self.device} is exhausted by one tile of "
                f"{'x'.join(map(str, self._tile))} voxels; use --device cpu or a "
                "smaller --roi"
            ) from err
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.batch_voxels = (take // 2) * per_item
        _LOG.warning("out of memory: %d noisy masks at once from here on", take // 2)

    def _probabilities(
        self, noisy: Tensor, t: Tensor, features: ImageFeatures, part: slice
    ) -> Tensor:
        net = self.network
        if net.dims == 2:
            features = _select(features, part, len(self._images), noisy.shape[0])
        logits = net.denoise(self._placed(noisy), t.to(self.device), features)
        return logits.float().softmax(1).cpu()

    def _placed(self, batch: Tensor) -> Tensor:
        """A batch on the device, in the layout that convolutions run fastest in."""
        layout = fast_layout(self.network.dims)
        return batch.to(self.device).contiguous(memory_format=layout)

    def _encoded(self, start: tuple[int, ...]) -> ImageFeatures:
        """Image features of a tile; computed at its first use."""
        if start not in self._features:
            box = tuple(slice(a, a + n) for a, n in zip(start, self._tile, strict=True))
            tiles = self._fit(self._images[_within(box)])
            per_item = int(np.prod(tiles.shape[2:]))
            chunk = max(1, self.batch_voxels // (4 * per_item))
            parts = [
                self.network.encode(self._placed(c)) for c in torch.split(tiles, chunk)
            ]
            self._features[start] = _joined(parts)
        return self._features[start]


def _within(box: tuple[slice, ...]) -> Any:
    """Index of a box along the last axes."""
    return (..., *box)


def _joined(parts: list[ImageFeatures]) -> ImageFeatures:
    if len(parts) == 1:
        return parts[0]
    maps = tuple(
        torch.cat(level) for level in zip(*(p.maps for p in parts), strict=True)
    )
    fine, coarse = (torch.cat([p.logits[i] for p in parts]) for i in (0, 1))
    return ImageFeatures(maps, (fine, coarse))


def _select(
    features: ImageFeatures, part: slice, planes: int, count: int
) -> ImageFeatures:
    """Features of the slices that a batch over members x slices holds."""
    first = part.start
    index = torch.arange(first, first + count) % planes
    index = index.to(features.maps[0].device)
    return ImageFeatures(
        tuple(m[index] for m in features.maps),
        (features.logits[0][index], features.logits[1][index]),
    )
