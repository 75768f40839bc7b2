"""The guided-diffusion U-Net, over 2 or 3 dimensions, that sees image and mask at once.

The architecture of Dhariwal and Nichol 2021, as Wolleb et al. 2022 used it for
ensembles of masks (EnsemDiff): image and noisy mask enter as channels of one input,
so that every step of every member runs the whole network. The defaults are the
published EnsemDiff configuration, with 113.7 million parameters; parameters bear the
published names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks.compact_unet import noise_embedding

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
GROUPS = 32  # of every group normalisation


_Module = TypeVar("_Module", bound=nn.Module)


def _zero(module: _Module) -> _Module:
    """Let a layer begin by answering zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Stage(nn.Sequential):
    """Modules one after another; residual blocks are given the embedding too."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        """Run `x` (B, C, *S) through the modules; `embedding` is (B, E)."""
        for module in self:
            x = module(x, embedding) if isinstance(module, Residual) else module(x)
        return x


class Residual(nn.Module):
    """Two 3-wide convolutions with a skip, shifted (or scaled, FiLM) by the embedding.

    The second convolution is born zero: the block begins as its skip.
    """

    def __init__(
        self, dims: int, cin: int, cout: int, embedding: int, film: bool, dropout: float
    ) -> None:
        super().__init__()
        conv = _CONV[dims]
        self.film = film
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, cin), nn.SiLU(), conv(cin, cout, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * cout if film else cout)
        )
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, cout),
            nn.SiLU(),
            nn.Dropout(dropout),
            _zero(conv(cout, cout, 3, padding=1)),
        )
        self.skip_connection = conv(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C, *S) and (B, E) to (B, C', *S)."""
        h = self.in_layers(x)
        told = self.emb_layers(embedding)
        told = told.reshape(*told.shape, *(1,) * (x.ndim - 2))
        if self.film:
            scale, shift = told.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + told)
        answer: Tensor = self.skip_connection(x) + h
        return answer


class Attention(nn.Module):
    """Self-attention over all positions, added to its input; born as the identity."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        flat = x.flatten(2)  # [B, C, N]
        # The published order of channels: head by head, and in each q, k, v.
        heads = self.qkv(self.norm(flat)).unflatten(1, (self.heads, 3, -1))
        q, k, v = (part.transpose(-1, -2) for part in heads.unbind(2))  # [B, H, N, c]
        seen = functional.scaled_dot_product_attention(q, k, v)
        mixed = self.proj_out(seen.transpose(-1, -2).flatten(1, 2))
        answer: Tensor = (flat + mixed).view_as(x)
        return answer


class Downsample(nn.Module):
    """Half of every extent, by a strided convolution or by averaging."""

    def __init__(self, dims: int, channels: int, learned: bool) -> None:
        super().__init__()
        pool = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        strided = _CONV[dims](channels, channels, 3, stride=2, padding=1)
        self.op = strided if learned else pool(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to (B, C, *S / 2)."""
        halved: Tensor = self.op(x)
        return halved


class Upsample(nn.Module):
    """Twice every extent: each voxel repeated, and then a convolution."""

    def __init__(self, dims: int, channels: int, learned: bool) -> None:
        super().__init__()
        conv = _CONV[dims](channels, channels, 3, padding=1)
        self.conv = conv if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to (B, C, 2 * *S)."""
        doubled: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0))
        return doubled


class GuidedUNet(nn.Module):
    """Denoiser of Dhariwal and Nichol 2021; by default that of EnsemDiff.

    Parameters
    ----------
    dims : {2, 3}
        Spatial dimensions. Every dimension is halved from level to level.
    image_channels, mask_channels : int
        Channels of the image and of the noisy mask.
    channels : int
        Width of the first level, a multiple of 32.
    multipliers : sequence of int
        Width of each level, in units of `channels`.
    blocks : int
        Residual blocks a level on the way down; one more on the way up.
    heads : int
        Heads of every attention.
    attention : sequence of int
        Downsamplings (1, 2, 4 ...) whose levels attend; the deepest always does.
    learned_variance : bool
        Whether the output holds, after the mask's channels, as many that place the
        log-variance between its bounds (Nichol and Dhariwal 2021, equation 15).
    film : bool
        Whether the embedding scales and shifts, rather than being added.
    conv_resampling : bool
        Whether resampling is learned.
    dropout : float
        Share of activations dropped in training, in [0, 1).
    """

    def __init__(
        self,
        dims: int = 2,
        image_channels: int = 4,
        mask_channels: int = 1,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        heads: int = 1,
        attention: Sequence[int] = (16,),
        learned_variance: bool = True,
        film: bool = False,
        conv_resampling: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dims not in _CONV:
            raise TypeError(f"dims is {dims}; give 2 or 3")
        if channels % GROUPS:
            raise TypeError(f"channels is {channels}; give a multiple of {GROUPS}")
        self.dims = dims
        self.channels = channels
        self.embedding = 4 * channels
        self.levels = len(multipliers)
        self._film, self._dropout, self._heads = film, dropout, heads
        self._learned, self._attention = conv_resampling, frozenset(attention)
        self.time_embed = nn.Sequential(
            nn.Linear(channels, self.embedding),
            nn.SiLU(),
            nn.Linear(self.embedding, self.embedding),
        )
        widths = [channels * multiplier for multiplier in multipliers]
        stem = _CONV[dims](image_channels + mask_channels, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([Stage(stem)])
        kept = self._descend(widths, blocks)
        self.middle_block = Stage(
            self._residual(widths[-1], widths[-1]),
            Attention(widths[-1], heads),
            self._residual(widths[-1], widths[-1]),
        )
        self.output_blocks = nn.ModuleList()
        self._ascend(widths, blocks, kept)
        out_channels = (2 if learned_variance else 1) * mask_channels
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, widths[0]),
            nn.SiLU(),
            _zero(_CONV[dims](widths[0], out_channels, 3, padding=1)),
        )

    def _descend(self, widths: Sequence[int], blocks: int) -> list[int]:
        """Append the way down; widths of all its outputs, the stem's included."""
        width = self.channels
        kept = [width]
        for level, wide in enumerate(widths):
            for _ in range(blocks):
                self.input_blocks.append(self._stage(width, wide, level))
                kept.append(width := wide)
            if level < len(widths) - 1:
                halve = Downsample(self.dims, wide, self._learned)
                self.input_blocks.append(Stage(halve))
                kept.append(wide)
        return kept

    def _ascend(self, widths: Sequence[int], blocks: int, kept: list[int]) -> None:
        """Append the way up; each block takes one output of the way down."""
        width = widths[-1]
        for level in range(len(widths) - 1, -1, -1):
            for _ in range(blocks + 1):
                stage = self._stage(width + kept.pop(), widths[level], level)
                self.output_blocks.append(stage)
                width = widths[level]
            if level:
                stage.append(Upsample(self.dims, width, self._learned))

    def _stage(self, cin: int, cout: int, level: int) -> Stage:
        stage = Stage(self._residual(cin, cout))
        if 2**level in self._attention:
            stage.append(Attention(cout, self._heads))
        return stage

    def _residual(self, cin: int, cout: int) -> Residual:
        return Residual(self.dims, cin, cout, self.embedding, self._film, self._dropout)

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        return int(2 ** (self.levels - 1))

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """Noise of a noisy mask, and the variance's place where it is learned.

        Parameters
        ----------
        noisy : (B, M, *S) Tensor
        timesteps : (B,) Tensor
        image : (B, C, *S) Tensor
            Clean, the same at every step.

        Returns
        -------
        (B, M, *S) or, with learned variance, (B, 2M, *S) Tensor
        """
        level = noise_embedding(timesteps, self.channels).to(noisy.dtype)
        embedding = self.time_embed(level)
        x = torch.cat([image, noisy], dim=1)
        kept = []
        for block in self.input_blocks:
            x = block(x, embedding)
            kept.append(x)
        x = self.middle_block(x, embedding)
        for block in self.output_blocks:
            x = block(torch.cat([x, kept.pop()], dim=1), embedding)
        out: Tensor = self.out(x)
        return out


def build(**config: object) -> GuidedUNet:
    """Build a `GuidedUNet`."""
    return GuidedUNet(**config)  # type: ignore[arg-type]
