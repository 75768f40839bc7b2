"""With what a network is computed, and what to do when its memory is exhausted."""

from __future__ import annotations

import copy
import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

from diffseg.segmenters.device import free_memory

# Voxels of noisy masks that go through the network at once. A GPU is busy only with
# many; a CPU is as fast with few, which fit its caches and are finished sooner.
BATCH_VOXELS = {"cpu": 300_000}
BATCH_VOXELS_ELSEWHERE = 1_000_000
# A tile's side is not halved below this: there would be too little to see.
LEAST_SIDE = 24
# Share of the free memory that image features may hold between evaluations.
_KEPT_SHARE = 0.25
_HALVES = {"cuda": torch.float16, "mps": torch.float16, "cpu": torch.bfloat16}

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Means:
    """Limits within which a network is computed.

    Parameters
    ----------
    device : str
        cpu, cuda or mps.
    dtype : torch.dtype
        Of weights and activations.
    tile : tuple of int, optional
        Largest input; any without it.
    batch : int, optional
        Most masks (3D) or slices (2D) at once; as many as `batch_voxels` hold
        without it.
    batch_voxels : int
        Most voxels at once; one mask goes through whatever its size.
    kept_bytes : int
        Image features that may be kept between evaluations.
    whole : tuple of int, optional
        The card's tile.
    """

    device: str
    dtype: torch.dtype = torch.float32
    tile: tuple[int, ...] | None = None
    batch: int | None = None
    batch_voxels: int = BATCH_VOXELS_ELSEWHERE
    kept_bytes: int = 2**30
    whole: tuple[int, ...] | None = None

    def most(self, voxels: int) -> int:
        """How many inputs of so many voxels may go through at once."""
        most = max(1, self.batch_voxels // voxels)
        return most if self.batch is None else min(most, self.batch)


def first_means(
    device: str,
    dtype: torch.dtype,
    tile: Sequence[int] | None,
    batch_voxels: int | None = None,
) -> Means:
    """Return the means to begin with: all that the device gives."""
    if batch_voxels is None:
        batch_voxels = BATCH_VOXELS.get(device, BATCH_VOXELS_ELSEWHERE)
    whole = tuple(tile) if tile else None
    kept = int(_KEPT_SHARE * free_memory(device))
    return Means(device, dtype, whole, None, batch_voxels, kept, whole)


def smaller(
    means: Means, tile: Sequence[int], batch: int, multiple: int = 1
) -> Means | None:
    """Return the next smaller means; None where there are none.

    The batch is halved down to one mask; then half precision; then tiles, halved
    along their longest axis; then the CPU, from whole tiles and full precision on.

    Parameters
    ----------
    means : Means
        Whose limits did not suffice.
    tile, batch
        What was computed at once when memory ran out, within those limits.
    multiple : int
        Sides of a tile are rounded up to multiples of this.
    """
    means = replace(means, kept_bytes=means.kept_bytes // 4)
    if batch > 1:
        return replace(means, batch=batch // 2)
    means = replace(means, batch=1)
    half = _HALVES[means.device]
    if means.dtype == torch.float32:
        return replace(means, dtype=half)
    longest = max(range(len(tile)), key=lambda axis: tile[axis])
    half_side = -(-(tile[longest] // 2) // multiple) * multiple
    if tile[longest] // 2 >= LEAST_SIDE and half_side < tile[longest]:
        sides = [n // 2 if axis == longest else n for axis, n in enumerate(tile)]
        return replace(means, tile=tuple(sides))
    if means.device == "cpu":
        return None
    return replace(means, device="cpu", dtype=torch.float32, tile=means.whole)


def in_words(before: Means, after: Means, dims: int) -> str:
    """Say in the user's words what changes from `before` to `after`."""
    what = "memory" if before.device == "cpu" else "GPU memory"
    if after.device != before.device:
        how = "on the CPU"
    elif after.dtype != before.dtype:
        how = "half precision"
    elif after.batch != before.batch and after.tile == before.tile:
        noun = "slice" if dims == 2 else "mask"
        how = f"{after.batch} {noun}{'' if after.batch == 1 else 's'} at once"
    else:
        how = f"tiles of {' x '.join(map(str, after.tile or ()))}"
    return f"{what} exhausted: {how} from here on"


def release(device: str) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif device == "mps" and torch.backends.mps.is_available():
        torch.mps.empty_cache()


def placed(network: Network, means: Means) -> Network:
    """Return the network with its weights where and as `means` say.

    The network itself where they are so already, else a copy of it; other users of
    the network notice nothing.
    """
    weights = list(chain(network.parameters(), network.buffers()))
    if all(w.device.type == means.device and w.dtype == means.dtype for w in weights):
        return network
    # Weight by weight, so that no second copy of them is made on a full device.
    moved: dict[int, object] = {}
    for weight in network.parameters():
        here = weight.detach().to(means.device, means.dtype)
        moved[id(weight)] = nn.Parameter(here, requires_grad=False)
    for buffer in network.buffers():
        kind = means.dtype if buffer.is_floating_point() else buffer.dtype
        moved[id(buffer)] = buffer.detach().to(means.device, kind)
    return copy.deepcopy(network, moved)
