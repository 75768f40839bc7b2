"""From the features of a pixel to a point on a sphere: CLDF's pixel decoder.

Four linear layers with ReLU between them, ``D-16-16-16-16`` (CLDF, section 3.1), whose
output is of length 1, as the contrastive loss wants it. Features of different blocks
differ in scale by orders of magnitude: each channel is standardised first, by numbers
that are measured on training slices and kept with the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class PixelDecoder(nn.Module):
    """Embeddings of pixels.

    Parameters
    ----------
    inputs : sequence of int
        Channels of each map of features, D together.
    width : int
        Of every layer's output.
    layers : int
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: Sequence[int], width: int = 16, layers: int = 4) -> None:
        super().__init__()
        if layers < 1 or not inputs:
            raise TypeError(f"layers is {layers}, inputs {inputs}; give one or more")
        self.inputs, self.width = tuple(inputs), width
        channels = sum(inputs)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        sizes = [channels, *(width for _ in range(layers))]
        self.layers = nn.ModuleList(
            nn.Linear(cin, cout) for cin, cout in itertools.pairwise(sizes)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings (P, E) of length 1 of the features (P, D) of pixels."""
        return self._rest(self.layers[0]((features - self.mean) / self.deviation))

    def from_maps(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Embeddings of all pixels of slices, from maps at their own resolutions.

        The same as `forward` on maps that are brought to full size and joined, but for
        rounding. Interpolation and the first layer are both linear, so their order is
        of no matter: the layer goes first, and 16 channels are brought to full size in
        place of all D, which are never joined.

        Parameters
        ----------
        maps : sequence of (B, C_b, Y_b, X_b) Tensor
            As many channels as `inputs`.
        size : (Y, X)

        Returns
        -------
        (B, E, Y, X) Tensor
        """
        first = cast("nn.Linear", self.layers[0])
        weight = first.weight / self.deviation
        bias = first.bias - weight @ self.mean
        parts = torch.split(weight, list(self.inputs), dim=1)
        hidden = bias[:, None, None]
        for one, part in zip(maps, parts, strict=True):
            small = functional.conv2d(one, part[..., None, None])
            hidden = hidden + brought_to(small, size)
        embeddings = self._rest(hidden.movedim(1, -1))
        return embeddings.movedim(-1, 1)

    def _rest(self, hidden: Tensor) -> Tensor:
        """What follows the first layer; channels last."""
        for layer in self.layers[1:]:
            hidden = layer(functional.relu(hidden))
        return functional.normalize(hidden, dim=-1)


def brought_to(one: Tensor, size: Sequence[int]) -> Tensor:
    """A map (B, C, Y_b, X_b) at full size, bilinear, pixel centres in place."""
    if tuple(one.shape[2:]) == tuple(size):
        return one
    return functional.interpolate(
        one, tuple(size), mode="bilinear", align_corners=False
    )


def build(**config: object) -> PixelDecoder:
    """Build a `PixelDecoder`."""
    return PixelDecoder(**config)  # type: ignore[arg-type]
