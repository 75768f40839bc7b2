"""One small piece of a network's work, timed and weighed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from diffseg.networks import fast_layout
from diffseg.networks.conditioned import Conditioned
from diffseg.segmenters.denoiser import dtype_of
from diffseg.segmenters.features import bytes_of, repeated

# Voxels that are enough to tell how fast a CPU is; a GPU is given the whole input.
_CPU_VOXELS = 24_000
# A U-Net holds its skipped maps and some temporaries: in units of its largest map.
_LARGEST_MAPS = 6


def timed(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds of the second call of `work`; the first one warms up."""
    for _ in range(2):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return seconds


@dataclass(frozen=True, slots=True)
class Piece:
    """What one evaluation took, each per voxel of the network's input.

    Parameters
    ----------
    encode, denoise : float
        Seconds of an image, and of one noisy mask.
    features : float
        Bytes of the image's features.
    image_peak, mask_peak : float
        Bytes of activations at the peak.
    """

    encode: float
    denoise: float
    features: float
    image_peak: float
    mask_peak: float

    @classmethod
    @torch.inference_mode()
    def probed(
        cls,
        network: Conditioned,
        device: str,
        tile: Sequence[int],
        batch: int,
        channels: int,
    ) -> Piece:
        """Evaluate a network on a piece of a tile, after a warm-up.

        Parameters
        ----------
        network : Conditioned
        device : str
        tile : (Z, Y, X) or (Y, X)
            Extent of the input that is to be estimated.
        batch : int
            Noisy masks at once.
        channels : int
            Of the image.
        """
        sides = _piece(tile, network.multiple) if device == "cpu" else tuple(tile)
        voxels = math.prod(sides)
        dtype = dtype_of(network)
        layout = fast_layout(network.dims)

        def tensor(items: int, channels: int) -> torch.Tensor:
            made = torch.randn(items, channels, *sides, device=device, dtype=dtype)
            return made.contiguous(memory_format=layout)

        image, masks = tensor(1, channels), tensor(batch, network.mask_channels)
        t = torch.zeros(batch, device=device, dtype=torch.long)
        with _Weighed(network, device) as encoding:
            features = network.encode(image)
        encode = timed(lambda: network.encode(image), device)
        with _Weighed(network, device) as denoising:
            used = repeated(features, batch)
            network.denoise(masks, t, used)
        denoise = timed(lambda: network.denoise(masks, t, used), device)
        return cls(
            encode / voxels,
            denoise / (voxels * batch),
            bytes_of(features) / voxels,
            encoding.peak / voxels,
            denoising.peak / (voxels * batch),
        )

    def encode_seconds(self, tile: Sequence[int]) -> float:
        """Seconds of the features of an image."""
        return self.encode * math.prod(tile)

    def denoise_seconds(self, tile: Sequence[int]) -> float:
        """Seconds of one noisy mask."""
        return self.denoise * math.prod(tile)

    def feature_bytes(self, tile: Sequence[int]) -> float:
        """Bytes of the features of an image."""
        return self.features * math.prod(tile)

    def peak_bytes(self, tile: Sequence[int], batch: int) -> float:
        """Bytes of activations at the peak."""
        return max(self.image_peak, self.mask_peak * batch) * math.prod(tile)


class _Weighed:
    """Bytes that a network needs inside the block, measured or estimated."""

    def __init__(self, network: Conditioned, device: str) -> None:
        self._network, self._device = cast("nn.Module", network), device
        self.peak = 0.0

    def __enter__(self) -> _Weighed:
        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            self._hooks = []
        else:
            modules = self._network.modules()
            self._hooks = [one.register_forward_hook(self._see) for one in modules]
        return self

    def _see(self, module: object, inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            size = output.numel() * output.element_size()
            self.peak = max(self.peak, _LARGEST_MAPS * size)

    def __exit__(self, *reason: object) -> None:
        for hook in self._hooks:
            hook.remove()
        if self._device == "cuda":
            self.peak = torch.cuda.max_memory_allocated() - self._before


def _piece(tile: Sequence[int], multiple: int) -> tuple[int, ...]:
    """The tile, its longest side halved until it is small enough."""
    sides = list(tile)
    while math.prod(sides) > _CPU_VOXELS:
        longest = max(range(len(sides)), key=lambda axis: sides[axis])
        half = -(-sides[longest] // (2 * multiple)) * multiple
        if half >= sides[longest]:
            break
        sides[longest] = half
    return tuple(sides)
