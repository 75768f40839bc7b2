"""The way down of the guided-diffusion U-Net (Dhariwal and Nichol 2021).

What the U-Net and a classifier of noisy images share; parameters bear the published
names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from diffseg.networks.compact_unet import noise_embedding
from diffseg.networks.guided_blocks import (
    CONV,
    GROUPS,
    Attention,
    Downsample,
    Residual,
    Stage,
)


class GuidedEncoder(nn.Module):
    """From an image to its maps on the way down, and through the bottom.

    Parameters
    ----------
    dims : {2, 3}
        Spatial dimensions. Every dimension is halved from level to level.
    in_channels : int
        Channels that enter.
    channels : int
        Width of the first level, a multiple of 32.
    multipliers : sequence of int
        Width of each level, in units of `channels`.
    blocks : int
        Residual blocks a level.
    heads : int
        Heads of every attention; they divide its width.
    attention : sequence of int
        Downsamplings (1, 2, 4 ...) whose levels attend; the deepest always does.
    film : bool
        Whether the embedding scales and shifts, rather than being added.
    conv_resampling : bool
        Whether resampling is learned.
    residual_resampling : bool
        Whether residual blocks do the resampling, by averaging and repeating.
    dropout : float
        Share of activations dropped in training, in [0, 1).
    head_channels : int, optional
        Width of a head; then there are as many as fit, whatever `heads` is.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        channels: int,
        multipliers: Sequence[int],
        blocks: int,
        heads: int,
        attention: Sequence[int],
        film: bool,
        conv_resampling: bool,
        residual_resampling: bool,
        dropout: float,
        head_channels: int | None = None,
    ) -> None:
        super().__init__()
        widths = [channels * multiplier for multiplier in multipliers]
        check_widths(dims, channels, widths, heads, head_channels)
        self.dims = dims
        self.channels = channels
        self.widths = tuple(widths)
        self.blocks = blocks
        self.embedding = 4 * channels
        self.levels = len(widths)
        self._film, self._dropout, self._heads = film, dropout, heads
        self._head_channels = head_channels
        self._learned, self._residual = conv_resampling, residual_resampling
        self._attention = frozenset(attention)
        self.time_embed = nn.Sequential(
            nn.Linear(channels, self.embedding),
            nn.SiLU(),
            nn.Linear(self.embedding, self.embedding),
        )
        stem = CONV[dims](in_channels, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([Stage(stem)])
        self.kept_widths = self._descend(widths, blocks)
        self.middle_block = Stage(
            self._block(widths[-1], widths[-1]),
            self._attending(widths[-1]),
            self._block(widths[-1], widths[-1]),
        )

    def _descend(self, widths: Sequence[int], blocks: int) -> tuple[int, ...]:
        """Append the way down; widths of all its outputs, the stem's included."""
        width = self.channels
        kept = [width]
        for level, wide in enumerate(widths):
            for _ in range(blocks):
                self.input_blocks.append(self._stage(width, wide, level))
                kept.append(width := wide)
            if level < len(widths) - 1:
                halve = (
                    self._block(wide, wide, "down")
                    if self._residual
                    else Downsample(self.dims, wide, self._learned)
                )
                self.input_blocks.append(Stage(halve))
                kept.append(wide)
        return tuple(kept)

    def _stage(self, cin: int, cout: int, level: int) -> Stage:
        stage = Stage(self._block(cin, cout))
        if 2**level in self._attention:
            stage.append(self._attending(cout))
        return stage

    def _block(self, cin: int, cout: int, resampling: str = "none") -> Residual:
        return Residual(
            self.dims,
            cin,
            cout,
            self.embedding,
            self._film,
            self._dropout,
            resampling,  # type: ignore[arg-type]
        )

    def _attending(self, width: int) -> Attention:
        each = self._head_channels
        return Attention(width, self._heads if each is None else width // each)

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        return int(2 ** (self.levels - 1))

    def told(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """Embedding (B, E) of the timesteps (B,)."""
        embedding: Tensor = self.time_embed(
            noise_embedding(timesteps, self.channels).to(dtype)
        )
        return embedding

    def descend(
        self,
        x: Tensor,
        embedding: Tensor,
        conditioned: Callable[[int, Tensor], Tensor] | None = None,
    ) -> list[Tensor]:
        """Outputs of the way down, the stem's first.

        `conditioned` is given each output's index and the output, and answers what
        goes on in its place.
        """
        kept = []
        for index, block in enumerate(self.input_blocks):
            x = block(x, embedding)
            if conditioned is not None:
                x = conditioned(index, x)
            kept.append(x)
        return kept


def check_widths(
    dims: int,
    channels: int,
    widths: Sequence[int],
    heads: int,
    head_channels: int | None = None,
) -> None:
    """Refuse a configuration that no guided-diffusion network has, by a `TypeError`."""
    if dims not in CONV:
        raise TypeError(f"dims is {dims}; give 2 or 3")
    if channels % GROUPS:
        raise TypeError(f"channels is {channels}; give a multiple of {GROUPS}")
    if head_channels is not None:
        if head_channels < 1 or any(width % head_channels for width in widths):
            raise TypeError(
                f"head_channels is {head_channels}; give a divisor of every level's "
                "width"
            )
    elif any(width % heads for width in widths):
        raise TypeError(f"heads is {heads}; give a divisor of every level's width")
