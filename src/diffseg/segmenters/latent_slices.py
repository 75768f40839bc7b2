"""Slices of one image as a latent network sees them, whatever fits into memory.

Images are encoded once for all members and steps; noisy latents and the answers'
decoding go through in batches over members x slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks import fast_layout
from diffseg.networks.conditioned import Conditioned
from diffseg.segmenters.denoiser import Evaluation, padded, with_context
from diffseg.segmenters.means import Means, placed
from diffseg.segmenters.readout import Readout


class LatentNetwork(Conditioned, Protocol):
    """A network that denoises a mask in the latent of an autoencoder.

    Latents are scaled to what the noise schedule expects; see
    `diffseg.networks.latent_diffusion`. Features are the image's latent
    (B, Z, Y/f, X/f), and so is a noisy mask, where an image is (B, C, Y, X).
    """

    @property
    def classes(self) -> int:
        """Foreground classes."""

    @property
    def latent_channels(self) -> int:
        """Channels Z of a latent."""

    @property
    def factor(self) -> int:
        """Extents of an image, in units f of its latent's."""

    def decode(self, latent: Tensor) -> Tensor:
        """Probabilities (B, K, Y, X) of the foreground classes of a clean latent."""


class LatentSlices:
    """Some planes of an image, to be answered for by a latent network.

    Parameters
    ----------
    network : LatentNetwork
    image : (C, Z, Y, X) float32 ndarray
        Prepared image, in [-1, 1].
    planes : range
        The planes to answer for.
    context : int
        Neighbour slices on each side that are given as channels.
    means : Means
        With what is computed.
    """

    def __init__(
        self,
        network: LatentNetwork,
        image: NDArray[np.float32],
        planes: range,
        *,
        context: int,
        means: Means,
    ) -> None:
        self._means, self._sizes = means, image.shape[2:]
        self._whole = padded(self._sizes, network.multiple)
        module = placed(cast("nn.Module", network), means)
        self._network = cast("LatentNetwork", module)
        array = torch.from_numpy(np.ascontiguousarray(image))
        self._images = with_context(array, context, planes)  # [n, C, Y, X]
        self._latents: Tensor | None = None
        self.last_batch = 1  # how much was, or was to be, computed at once last

    def x0(self, noisy: Tensor, timesteps: Tensor, readout: Readout) -> Evaluation:
        """Estimate the clean latents of noisy ones.

        Parameters
        ----------
        noisy : (M, Z, n, y, x) Tensor
            Latents of members, in each of the n planes.
        timesteps : (M,) int64 Tensor
        readout : Readout
            What the network predicts, and whether latents are clipped.

        Returns
        -------
        (M, Z, n, y, x) float32 Tensor
        """
        latents = yield from self._encoded()
        members, _, planes = noisy.shape[:3]
        flat = noisy.movedim(2, 1).flatten(0, 1)  # [M * n, Z, y, x]
        t = timesteps.repeat_interleave(planes)
        out = torch.empty_like(flat)
        for part in self._batches(len(flat), self._most):
            index = torch.arange(part.start, part.stop) % planes
            answer = self._network.denoise(
                self._placed(flat[part]),
                t[part].to(self._means.device),
                latents[index.to(latents.device)],
            )
            # In full precision: at the noisiest levels eps is divided by very little.
            raw = readout.read(answer).cpu()
            out[part] = readout.estimate(raw, flat[part], t[part])
            yield None
        return out.reshape(members, planes, *out.shape[1:]).movedim(1, 2)

    def decoded(self, clean: Tensor, readout: Readout) -> Evaluation:
        """Class probabilities (M, K + 1, n, Y, X) of latents (M, Z, n, y, x)."""
        members, _, planes = clean.shape[:3]
        flat = clean.movedim(2, 1).flatten(0, 1)
        parts = []
        for part in self._batches(len(flat), self._fewer):
            shares = self._network.decode(self._placed(flat[part]))
            parts.append(readout.completed(shares.float().cpu()))
            yield None
        y, x = self._sizes
        out = torch.cat(parts)[..., :y, :x]
        return out.reshape(members, planes, *out.shape[1:]).movedim(1, 2)

    @property
    def _most(self) -> int:
        return self._means.most(math.prod(self._whole))

    @property
    def _fewer(self) -> int:
        """Of encoder and decoder: their maps are as large as the image."""
        return max(1, self._most // 4)

    def _encoded(self) -> Evaluation:
        """Latents of the planes, (n, Z, y, x); made once."""
        if self._latents is None:
            y, x = (a - b for a, b in zip(self._whole, self._sizes, strict=True))
            parts = []
            for part in self._batches(len(self._images), self._fewer):
                # What lies beyond the image goes on as its border does.
                images = functional.pad(
                    self._images[part], (0, x, 0, y), mode="replicate"
                )
                parts.append(self._network.encode(self._placed(images)))
                yield None
            self._latents = torch.cat(parts)
        return self._latents

    def _batches(self, count: int, most: int) -> Iterator[slice]:
        for start in range(0, count, most):
            part = slice(start, min(start + most, count))
            self.last_batch = part.stop - part.start
            yield part

    def _placed(self, batch: Tensor) -> Tensor:
        """A batch on the device, in the layout that convolutions run fastest in."""
        batch = batch.to(self._means.device, self._means.dtype)
        return batch.contiguous(memory_format=fast_layout(2))
