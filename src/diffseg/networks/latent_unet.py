"""The U-Net of latent diffusion (Rombach et al. 2022), without cross-attention.

The guided-diffusion U-Net with two differences: it resamples inside residual blocks,
and it works on the maps of an autoencoder. The defaults are the published
``lsun_churches256`` configuration, from which SDSeg (Lin et al. 2024) and LEAF start,
with the input doubled: the image's latent first, then the mask's. Parameters bear the
published names (``model.diffusion_model.`` dropped).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffseg.networks.compact_unet import noise_embedding
from diffseg.networks.guided_blocks import GROUPS, Attention, Residual, Stage


@dataclass(frozen=True, slots=True)
class MapSize:
    """What a block of the way down puts out: its width, and how much is halved.

    Parameters
    ----------
    channels : int
    downsampling : int
        1, 2, 4 ...: the block's map is the input's extents divided by this.
    """

    channels: int
    downsampling: int


class LatentUNet(nn.Module):
    """Denoiser of a mask's latent, given an image's latent of the same extents.

    Parameters
    ----------
    image_channels, mask_channels : int
        Channels of the image's and of the mask's latent.
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
    film : bool
        Whether the embedding scales and shifts, rather than being added.
    dropout : float
        Share of activations dropped in training, in [0, 1).
    """

    dims = 2
    learned_variance = False

    def __init__(
        self,
        image_channels: int = 4,
        mask_channels: int = 4,
        channels: int = 192,
        multipliers: Sequence[int] = (1, 2, 2, 4, 4),
        blocks: int = 2,
        heads: int = 8,
        attention: Sequence[int] = (1, 2, 4, 8),
        film: bool = True,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        _checked(channels, multipliers, heads)
        self.channels, self.mask_channels = channels, mask_channels
        self._embedding, self._film, self._dropout = 4 * channels, film, dropout
        self._heads, self._attention = heads, frozenset(attention)
        self._levels = len(multipliers)
        self.time_embed = nn.Sequential(
            nn.Linear(channels, self._embedding),
            nn.SiLU(),
            nn.Linear(self._embedding, self._embedding),
        )
        widths = [channels * multiplier for multiplier in multipliers]
        stem = nn.Conv2d(image_channels + mask_channels, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([Stage(stem)])
        self.maps = self._descend(widths, blocks)
        self.middle_block = Stage(
            self._residual(widths[-1], widths[-1]),
            Attention(widths[-1], heads),
            self._residual(widths[-1], widths[-1]),
        )
        self.output_blocks = nn.ModuleList()
        self._ascend(widths, blocks)
        last = nn.Conv2d(widths[0], mask_channels, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), last)

    def _descend(self, widths: Sequence[int], blocks: int) -> tuple[MapSize, ...]:
        """Append the way down; the maps that its blocks put out, the stem's first."""
        width, kept = self.channels, [MapSize(self.channels, 1)]
        for level, wide in enumerate(widths):
            for _ in range(blocks):
                self.input_blocks.append(self._stage(width, wide, level))
                kept.append(MapSize(wide, 2**level))
                width = wide
            if level < len(widths) - 1:
                self.input_blocks.append(Stage(self._resampled(wide, half=True)))
                kept.append(MapSize(wide, 2 ** (level + 1)))
        return tuple(kept)

    def _ascend(self, widths: Sequence[int], blocks: int) -> None:
        """Append the way up; each block takes one output of the way down."""
        width, kept = widths[-1], list(self.maps)
        for level in range(len(widths) - 1, -1, -1):
            for _ in range(blocks + 1):
                stage = self._stage(width + kept.pop().channels, widths[level], level)
                self.output_blocks.append(stage)
                width = widths[level]
            if level:
                stage.append(self._resampled(width, half=False))

    def _stage(self, cin: int, cout: int, level: int) -> Stage:
        stage = Stage(self._residual(cin, cout))
        if 2**level in self._attention:
            stage.append(Attention(cout, self._heads))
        return stage

    def _residual(self, cin: int, cout: int) -> Residual:
        return Residual(2, cin, cout, self._embedding, self._film, self._dropout)

    def _resampled(self, channels: int, *, half: bool) -> Residual:
        """Return a block that halves (averaging) or doubles (repeating) the map."""
        size = (2, channels, channels, self._embedding, self._film, self._dropout)
        return Residual(*size, resampling="down" if half else "up")

    @property
    def multiple(self) -> int:
        """Extents of a latent must be multiples of this."""
        return int(2 ** (self._levels - 1))

    def encode(self, image: Tensor) -> Tensor:
        """Return the image's latent itself, (B, C, Y, X)."""
        return image

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Answer (B, M, Y, X) to a mask's noisy latent, in the image's `features`.

        Parameters
        ----------
        noisy : (B, M, Y, X) Tensor
        timesteps : (B,) Tensor
        features : (B, C, Y, X) Tensor
            Latent of the image.
        """
        return self.denoise_with_map(noisy, timesteps, features)[0]

    def denoise_with_map(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        features: Tensor,
        block: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Answer as `denoise`, and what block `block` of the way down puts out.

        `block` counts from the stem, which is 0; without one there is no map.
        """
        level = noise_embedding(timesteps, self.channels).to(noisy.dtype)
        embedding = self.time_embed(level)
        x = torch.cat([features, noisy], dim=1)  # the order the weights were trained in
        kept = []
        for stage in self.input_blocks:
            x = stage(x, embedding)
            kept.append(x)
        seen = None if block is None else kept[block]
        x = self.middle_block(x, embedding)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], dim=1), embedding)
        out: Tensor = self.out(x)
        return out, seen

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """Answer (B, M, Y, X) to `noisy`, given the image's latent `image`."""
        return self.denoise(noisy, timesteps, self.encode(image))


def _checked(channels: int, multipliers: Sequence[int], heads: int) -> None:
    if channels % GROUPS:
        raise TypeError(f"channels is {channels}; give a multiple of {GROUPS}")
    for multiplier in multipliers:
        if channels * multiplier % heads:
            raise TypeError(
                f"heads is {heads}; give one that divides {channels * multiplier}, "
                "the width of a level"
            )


def adapt_input_convolution(weight: Tensor) -> Tensor:
    """Weight of a first convolution for twice its inputs: doubled and halved.

    Image and mask are given the same weights, and twice the inputs make as large an
    answer as before; the bias stays as it is (LEAF, section 3; Marigold before it).

    Parameters
    ----------
    weight : (O, C, 3, 3) Tensor

    Returns
    -------
    (O, 2C, 3, 3) Tensor
    """
    return weight.repeat(1, 2, 1, 1) / 2


def build(**config: object) -> LatentUNet:
    """Build a `LatentUNet`."""
    return LatentUNet(**config)  # type: ignore[arg-type]
