"""The guided-diffusion U-Net, over 2 or 3 dimensions, that sees image and mask at once.

The architecture of Dhariwal and Nichol 2021, as Wolleb et al. 2022 used it for
ensembles of masks (EnsemDiff): image and noisy mask enter as channels of one input,
so that every step of every member runs the whole network. The defaults are the
published EnsemDiff configuration, with 113.7 million parameters; parameters bear the
published names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffseg.networks.guided_blocks import CONV, GROUPS, Silu, Upsample, zero
from diffseg.networks.guided_encoder import GuidedEncoder


class GuidedBody(GuidedEncoder):
    """The U-Net itself, from the channels that enter to the channels that leave.

    Parameters
    ----------
    dims, in_channels, channels, multipliers, blocks, heads, attention, film,
    conv_resampling, residual_resampling, dropout
        As `GuidedEncoder` takes them; on the way up there is one block more a level.
    out_channels : int
        Channels that leave.
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
        super().__init__(
            dims,
            in_channels,
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
        self.output_blocks = nn.ModuleList()
        self._ascend(self.widths, blocks, list(self.kept_widths))
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, self.widths[0]),
            Silu(),
            zero(CONV[dims](self.widths[0], out_channels, 3, padding=1)),
        )

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


def build(**config: object) -> GuidedUNet:
    """Build a `GuidedUNet`."""
    return GuidedUNet(**config)  # type: ignore[arg-type]
