"""The guided-diffusion U-Net, over 2 or 3 dimensions, that sees image and mask at once.

The architecture of Dhariwal and Nichol 2021, as Wolleb et al. 2022 used it for
ensembles of masks (EnsemDiff): image and noisy mask enter as channels of one input,
so that every step of every member runs the whole network. The defaults are the
published EnsemDiff configuration, with 113.7 million parameters; parameters bear the
published names.
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
    Silu,
    Stage,
    Upsample,
    zero,
)


class GuidedBody(nn.Module):
    """The U-Net itself, from the channels that enter to the channels that leave.

    Parameters
    ----------
    dims : {2, 3}
        Spatial dimensions. Every dimension is halved from level to level.
    in_channels, out_channels : int
        Channels that enter and leave.
    channels : int
        Width of the first level, a multiple of 32.
    multipliers : sequence of int
        Width of each level, in units of `channels`.
    blocks : int
        Residual blocks a level on the way down; one more on the way up.
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
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        channels: int,
        multipliers: Sequence[int],
        blocks: int,
        heads: int,
        attention: Sequence[int],
        film: bool,
        conv_resampling: bool,
        residual_resampling: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        widths = [channels * multiplier for multiplier in multipliers]
        _check(dims, channels, widths, heads)
        self.dims = dims
        self.channels = channels
        self.widths = tuple(widths)
        self.blocks = blocks
        self.embedding = 4 * channels
        self.levels = len(widths)
        self._film, self._dropout, self._heads = film, dropout, heads
        self._learned, self._residual = conv_resampling, residual_resampling
        self._attention = frozenset(attention)
        self.time_embed = nn.Sequential(
            nn.Linear(channels, self.embedding),
            nn.SiLU(),
            nn.Linear(self.embedding, self.embedding),
        )
        stem = CONV[dims](in_channels, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([Stage(stem)])
        kept = self._descend(widths, blocks)
        self.middle_block = Stage(
            self._block(widths[-1], widths[-1]),
            Attention(widths[-1], heads),
            self._block(widths[-1], widths[-1]),
        )
        self.output_blocks = nn.ModuleList()
        self._ascend(widths, blocks, kept)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, widths[0]),
            Silu(),
            zero(CONV[dims](widths[0], out_channels, 3, padding=1)),
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
                halve = (
                    self._block(wide, wide, "down")
                    if self._residual
                    else Downsample(self.dims, wide, self._learned)
                )
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
                stage.append(
                    self._block(width, width, "up")
                    if self._residual
                    else Upsample(self.dims, width, self._learned)
                )

    def _stage(self, cin: int, cout: int, level: int) -> Stage:
        stage = Stage(self._block(cin, cout))
        if 2**level in self._attention:
            stage.append(Attention(cout, self._heads))
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

    def ascend(self, x: Tensor, embedding: Tensor, kept: list[Tensor]) -> Tensor:
        """Through the bottom, from `x`, and up to the channels that leave."""
        waiting = list(kept)
        x = self.middle_block(x, embedding)
        for block in self.output_blocks:
            x = block(torch.cat([x, waiting.pop()], dim=1), embedding)
        out: Tensor = self.out(x)
        return out


class GuidedUNet(GuidedBody):
    """Denoiser of Dhariwal and Nichol 2021; by default that of EnsemDiff.

    Parameters
    ----------
    image_channels, mask_channels : int
        Channels of the image and of the noisy mask, which enter in that order.
    learned_variance : bool
        Whether the output holds, after the mask's channels, as many that place the
        log-variance between its bounds (Nichol and Dhariwal 2021, equation 15).
    dims, channels, multipliers, blocks, heads, attention, film, conv_resampling,
    residual_resampling, dropout
        As `GuidedBody` takes them.
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
        residual_resampling: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            dims,
            image_channels + mask_channels,
            (2 if learned_variance else 1) * mask_channels,
            channels,
            multipliers,
            blocks,
            heads,
            attention,
            film,
            conv_resampling,
            residual_resampling,
            dropout,
        )
        self.image_channels = image_channels
        self.mask_channels = mask_channels
        self.learned_variance = learned_variance

    def encode(self, image: Tensor) -> Tensor:
        """What the image says: itself, as it enters at every step."""
        return image

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Noise of a noisy mask, and the variance's place where it is learned.

        Parameters
        ----------
        noisy : (B, M, *S) Tensor
        timesteps : (B,) Tensor
        features : (B, C, *S) Tensor
            The clean image, the same at every step.

        Returns
        -------
        (B, M, *S) or, with learned variance, (B, 2M, *S) Tensor
        """
        embedding = self.told(timesteps, noisy.dtype)
        kept = self.descend(torch.cat([features, noisy], dim=1), embedding)
        return self.ascend(kept[-1], embedding, kept)

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """`denoise` with the features of `image` (B, C, *S)."""
        return self.denoise(noisy, timesteps, self.encode(image))


def _check(dims: int, channels: int, widths: Sequence[int], heads: int) -> None:
    if dims not in CONV:
        raise TypeError(f"dims is {dims}; give 2 or 3")
    if channels % GROUPS:
        raise TypeError(f"channels is {channels}; give a multiple of {GROUPS}")
    if any(width % heads for width in widths):
        raise TypeError(f"heads is {heads}; give a divisor of every level's width")


def build(**config: object) -> GuidedUNet:
    """Build a `GuidedUNet`."""
    return GuidedUNet(**config)  # type: ignore[arg-type]
