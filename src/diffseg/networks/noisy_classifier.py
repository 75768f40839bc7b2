"""What a noisy image shows: the classifier that guides diffusion.

The encoder half of the guided-diffusion U-Net with attention pooling (Dhariwal and
Nichol 2021, section 4), told the timestep and no class. It has two logits for each
class, absent and present, so that with one class it is the published network, and
parameters bear the published names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.networks.guided_blocks import GROUPS, Silu
from diffseg.networks.guided_encoder import GuidedEncoder


class AttentionPool(nn.Module):
    """One answer from all positions, by the attention of their mean (as in CLIP).

    Parameters
    ----------
    side : int
        Positions along each axis that it is made for; others are interpolated.
    channels, out_channels : int
    heads : int
    """

    def __init__(self, side: int, channels: int, out_channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        places = torch.randn(channels, side**2 + 1) / channels**0.5
        self.positional_embedding = nn.Parameter(places)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Y, X) to (B, C')."""
        flat = x.flatten(2)
        flat = torch.cat([flat.mean(2, keepdim=True), flat], dim=2)
        flat = flat + self._places(x.shape[2], x.shape[3]).to(flat.dtype)
        heads = self.qkv_proj(flat).reshape(len(x), 3, self.heads, -1, flat.shape[2])
        q, k, v = (part.transpose(-1, -2) for part in heads.unbind(1))  # [B, H, N, c]
        seen = functional.scaled_dot_product_attention(q[:, :, :1], k, v)
        pooled: Tensor = self.c_proj(seen.transpose(-1, -2).flatten(1, 2))
        return pooled[:, :, 0]

    def _places(self, rows: int, columns: int) -> Tensor:
        places, side = self.positional_embedding, self.side
        if (rows, columns) == (side, side):
            return places
        grid = places[:, 1:].reshape(1, -1, side, side)
        grid = functional.interpolate(grid, (rows, columns), mode="bilinear")
        return torch.cat([places[:, :1], grid[0].flatten(1)], dim=1)


class NoisyClassifier(GuidedEncoder):
    """Logits of what a noisy slice shows; by default the published configuration.

    Parameters
    ----------
    image_channels : int
    classes : int
        Classes K that it tells, each on its own.
    size : int
        Rows and columns of the images that it is made for.
    dims : {2}
    channels, multipliers, blocks, heads, attention, film, conv_resampling,
    residual_resampling, dropout, head_channels
        As `GuidedEncoder` takes them.
    """

    def __init__(
        self,
        dims: int = 2,
        image_channels: int = 4,
        classes: int = 1,
        size: int = 256,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        heads: int = 4,
        attention: Sequence[int] = (8, 16, 32),
        film: bool = True,
        conv_resampling: bool = True,
        residual_resampling: bool = True,
        dropout: float = 0.0,
        head_channels: int | None = 64,
    ) -> None:
        if dims != 2:
            raise TypeError(f"dims is {dims}; it sees slices, give 2")
        if classes < 1:
            raise TypeError(f"classes is {classes}; give 1 or more")
        super().__init__(
            dims,
            image_channels,
            channels,
            multipliers,
            blocks,
            heads,
            attention,
            film,
            conv_resampling,
            residual_resampling,
            dropout,
            head_channels,
        )
        if size % self.multiple:
            raise TypeError(f"size is {size}; give a multiple of {self.multiple}")
        self.image_channels, self.classes = image_channels, classes
        width = self.widths[-1]
        pooling = heads if head_channels is None else width // head_channels
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, width),
            Silu(),
            AttentionPool(size // self.multiple, width, 2 * classes, pooling),
        )

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Logits (B, K, 2), absent and present, of noisy images (B, C, Y, X)."""
        embedding = self.told(timesteps, noisy.dtype)
        kept = self.descend(noisy, embedding)
        logits: Tensor = self.out(self.middle_block(kept[-1], embedding))
        return logits.view(-1, self.classes, 2)

    def feature_maps(
        self, noisy: Tensor, timesteps: Tensor, blocks: Sequence[int]
    ) -> list[Tensor]:
        """Outputs (B, C_b, Y_b, X_b) of chosen blocks of the way down, 0 the stem."""
        kept = self.descend(noisy, self.told(timesteps, noisy.dtype))
        return [kept[index] for index in blocks]

    def feature_widths(self, blocks: Sequence[int]) -> tuple[int, ...]:
        """Channels of the maps of `blocks`; `ValueError` if there is none such."""
        count = len(self.kept_widths)
        if not blocks or min(blocks) < 0 or max(blocks) >= count:
            raise ValueError(f"blocks are {tuple(blocks)}; give 0 to {count - 1}")
        return tuple(self.kept_widths[index] for index in blocks)


def log_probability(logits: Tensor, states: Tensor) -> Tensor:
    """Logarithm of the probability that images show what they are said to.

    Parameters
    ----------
    logits : (B, K, 2) Tensor
    states : (B, K) int64 Tensor
        Indices into `diffseg.domain.slice_labels.CODES`; a class that is not known has
        no say.

    Returns
    -------
    (B,) Tensor
    """
    known = states != UNKNOWN
    said = (states == PRESENT).long()[..., None]
    each = functional.log_softmax(logits, dim=2).gather(2, said)[..., 0]
    return torch.where(known, each, torch.zeros_like(each)).sum(1)


def build(**config: object) -> NoisyClassifier:
    """Build a `NoisyClassifier`."""
    return NoisyClassifier(**config)  # type: ignore[arg-type]
