"""DiCLIP's segmentation head: patch tokens of all layers of a frozen CLIP to logits.

Each layer's tokens go through two linear layers of their own, all are joined and fused,
and a small decoder answers: a transformer without embeddings of places, as WeCLIP has
it (Zhang et al. 2024), or dilated convolutions (LargeFOV of Chen et al. 2017), the
other decoder of the paper's table IX. It needs no diffusion model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Decoder = Literal["transformer", "convolution"]


@dataclass(frozen=True, slots=True, eq=False)
class HeadAnswer:
    """What the head says of a batch.

    Parameters
    ----------
    logits : (B, K + 1, y, x) Tensor
        On the grid of patches, background first.
    fused : (B, W, y, x) Tensor
        Features before the decoder; see `predicted_affinity`.
    """

    logits: Tensor
    fused: Tensor


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, CLIP's stand-in for GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return as many numbers as there are in `x`."""
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A transformer's layer that normalises first, as CLIP's do."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, W) to tokens."""
        seen = self.first(x)
        x = x + self.attention(seen, seen, seen, need_weights=False)[0]
        x = x + self.mlp(self.second(x))
        return x


class TransformerDecoder(nn.Module):
    """Layers of attention between all patches, then a linear answer."""

    def __init__(self, width: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.last = nn.Conv2d(width, classes + 1, 1)

    def forward(self, fused: Tensor) -> Tensor:
        """Logits (B, K + 1, y, x) of features (B, W, y, x)."""
        tokens = self.blocks(fused.flatten(2).transpose(1, 2))
        logits: Tensor = self.last(tokens.transpose(1, 2).view_as(fused))
        return logits


class ConvolutionDecoder(nn.Sequential):
    """Two dilated convolutions, then a linear answer."""

    def __init__(self, width: int, wide: int, classes: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(width, wide, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(wide, classes + 1, 1),
        )


class DiclipHead(nn.Module):
    """From patch tokens of several layers to logits on their grid.

    Parameters
    ----------
    layers : int
        Of the backbone, 12 of CLIP ViT-B.
    features : int
        Channels of a token, 768 there.
    classes : int
        Foreground classes K.
    width : int
        Of all that follows.
    depth, heads : int
        Of the transformer.
    dropout : float
        Of whole channels of the fused features, while learning.
    decoder : {"transformer", "convolution"}
    wide : int
        Channels of the dilated convolutions.
    dilation : int
        Of those, in patches; on a grid that is not larger, they see single patches.
    """

    dims = 2

    def __init__(
        self,
        layers: int = 12,
        features: int = 768,
        classes: int = 20,
        width: int = 256,
        depth: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
        decoder: Decoder = "transformer",
        wide: int = 512,
        dilation: int = 5,
    ) -> None:
        super().__init__()
        if min(layers, features, classes, width, depth, heads, wide, dilation) < 1:
            raise TypeError("every size of the head must be 1 or more")
        if decoder not in get_args(Decoder):
            raise TypeError(
                f"decoder is {decoder!r}; give {' or '.join(get_args(Decoder))}"
            )
        if decoder == "transformer" and width % heads:
            raise TypeError(f"heads {heads} must divide width {width}")
        self.classes, self.features = classes, features
        self.projections = nn.ModuleList(
            nn.Sequential(
                nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width)
            )
            for _ in range(layers)
        )
        self.fuse = nn.Conv2d(layers * width, width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.decoder: nn.Module = (
            TransformerDecoder(width, depth, heads, classes)
            if decoder == "transformer"
            else ConvolutionDecoder(width, wide, classes, dilation)
        )

    def forward(self, tokens: Sequence[Tensor], grid: tuple[int, int]) -> HeadAnswer:
        """Answer the tokens of one batch.

        Parameters
        ----------
        tokens : sequence of (B, N, C) Tensor
            Patch tokens of each layer, without class token, row by row.
        grid : (y, x)
            Patches; y x is N.

        Raises
        ------
        ValueError
            There are more or fewer layers than the head has, or the patches do not
            make this grid.
        """
        if len(tokens) != len(self.projections):
            raise ValueError(f"{len(tokens)} layers for {len(self.projections)}")
        if any(one.shape[1:] != (grid[0] * grid[1], self.features) for one in tokens):
            shapes = sorted({tuple(one.shape[1:]) for one in tokens})
            raise ValueError(f"tokens {shapes} on a grid {grid} of {self.features}")
        # Each layer's share of the 1 x 1 convolution is added at once: the tokens of
        # all layers are never joined, which would take as much memory again.
        weight = self.fuse.weight[:, :, 0, 0]
        parts = torch.split(weight, self.fuse.out_channels, dim=1)
        joined = cast("Tensor", self.fuse.bias)
        for one, layer, part in zip(tokens, self.projections, parts, strict=True):
            joined = joined + layer(one) @ part.T
        placed = joined.transpose(1, 2).reshape(len(joined), -1, *grid)
        fused = self.dropout(placed)
        return HeadAnswer(self.decoder(fused), fused)


def predicted_affinity(fused: Tensor, sharpness: float = 3.0) -> Tensor:
    """How alike two patches are thought to be: ``sigmoid(3 (cos - mean))``.

    Parameters
    ----------
    fused : (B, W, y, x) Tensor
        Of `HeadAnswer`.
    sharpness : float

    Returns
    -------
    (B, N, N) Tensor
        In (0, 1), symmetric; the mean is that of an image's own pairs.
    """
    features = functional.normalize(fused.flatten(2), dim=1)
    cosine = features.transpose(1, 2) @ features
    return torch.sigmoid(sharpness * (cosine - cosine.mean((1, 2), keepdim=True)))


def build(**config: object) -> DiclipHead:
    """Build a `DiclipHead`."""
    return DiclipHead(**config)  # type: ignore[arg-type]
