"""How many operations an ensemble needs, whatever path computes it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from diffseg.domain import ModelCard
from diffseg.networks.conditioned import Conditioned
from diffseg.segmenters.denoiser import padded, tile_starts


def flops_of(work: Callable[[], object]) -> int:
    """Operations of the convolutions and matrix products that `work` runs.

    A multiplication and an addition are two. Normalisation, activations and
    resampling are not counted.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def tiles_of(
    network: Conditioned, card: ModelCard, shape: Sequence[int]
) -> tuple[tuple[int, ...], int]:
    """Extent of the network's input, and how many of them cover an image once.

    Parameters
    ----------
    shape : (Z, Y, X)
        Extent of the prepared image. A network over 2 dimensions sees its planes.
    """
    sizes = tuple(shape) if network.dims == 3 else tuple(shape[1:])
    planes = 1 if network.dims == 3 else shape[0]
    whole = padded(sizes, network.multiple)
    largest = padded(card.preparation.tile or sizes, network.multiple)
    tile = tuple(min(a, b) for a, b in zip(whole, largest, strict=True))
    pairs = zip(sizes, tile, strict=True)
    return tile, planes * math.prod(len(tile_starts(n, t)) for n, t in pairs)


@torch.inference_mode()
def needed_flops(
    network: Conditioned,
    card: ModelCard,
    shape: Sequence[int],
    *,
    members: int,
    steps: int,
) -> int:
    """Operations of the forward passes that an ensemble cannot do without.

    Image features once for each test-time flip that a member uses, and one pass
    of the member tower for each member and step. Counted on tensors without
    numbers: nothing is computed.
    """
    tile, count = tiles_of(network, card, shape)
    preparation = card.preparation
    channels = len(preparation.channels) * (2 * preparation.context + 1)
    sized = cast("Any", copy.deepcopy(network)).to("meta")
    with torch.device("meta"):
        image = torch.empty(1, channels, *tile)
        noisy = torch.empty(1, network.mask_channels, *tile)
        t = torch.empty(1)
        features = sized.encode(image)
        encoding = flops_of(lambda: sized.encode(image))
        denoising = flops_of(lambda: sized.denoise(noisy, t, features))
    flips = min(len(preparation.flips), members)
    return count * (flips * encoding + members * steps * denoising)
