"""SegDiff (Amit et al. 2021): a U-Net over the noisy mask, told of the image once.

The image goes through a network of dense blocks, G, whose features do not depend on
the noise level and are computed once per image. As the authors published it, they are
added to the output of the U-Net's first convolution: h = F(x_t) + G(I). The analysis
of diffusion segmenters that compares SegDiff with others describes features at each
level of the way down: that is ``conditioning="levels"``. The defaults are the published
MoNuSeg configuration; parameters bear the published names.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks.guided_blocks import CONV, zero
from diffseg.networks.guided_unet import GuidedBody
from diffseg.networks.rrdb import DenseReader

_POOL = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


class SegDiff(GuidedBody):
    """Denoiser of Amit et al. 2021.

    Parameters
    ----------
    image_channels, mask_channels : int
        Channels of the image and of the noisy mask.
    learned_variance : bool
        Whether the output holds, after the mask's channels, as many that place the
        log-variance between its bounds. Published: it does not.
    conditioning : {"once", "levels"}
        Whether the image's features are added after the first convolution alone, or
        pooled, projected and added at the beginning of every further level too.
    reader_blocks, reader_width, reader_growth : int
        Residual-in-residual dense blocks of G, the width of its trunk, and what each
        convolution within a block adds.
    dims, channels, multipliers, blocks, heads, attention, film, conv_resampling,
    residual_resampling, dropout
        As `GuidedBody` takes them.
    """

    def __init__(
        self,
        dims: int = 2,
        image_channels: int = 3,
        mask_channels: int = 1,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 1, 1, 2, 2, 4, 4),
        blocks: int = 3,
        heads: int = 4,
        attention: Sequence[int] = (16, 32),
        learned_variance: bool = False,
        conditioning: str = "once",
        reader_blocks: int = 12,
        reader_width: int = 64,
        reader_growth: int = 32,
        film: bool = False,
        conv_resampling: bool = True,
        residual_resampling: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            dims,
            mask_channels,
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
        if conditioning not in ("once", "levels"):
            raise TypeError(f"conditioning is {conditioning!r}; give once or levels")
        self.image_channels = image_channels
        self.mask_channels = mask_channels
        self.learned_variance = learned_variance
        self.rrdb = DenseReader(
            dims, image_channels, channels, reader_blocks, reader_width, reader_growth
        )
        # What enters a level has the width of the level above it.
        above = self.widths[:-1] if conditioning == "levels" else ()
        self.told_levels = nn.ModuleList(
            zero(CONV[dims](channels, width, 1)) for width in above
        )

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """Features (B, C_l, *S / 2**l) of the image (B, C, *S), finest first."""
        read = self.rrdb(image)
        features, pooled = [read], read
        for project in self.told_levels:
            pooled = _POOL[self.dims](pooled, 2)
            features.append(project(pooled))
        return tuple(features)

    def denoise(
        self, noisy: Tensor, timesteps: Tensor, features: Sequence[Tensor]
    ) -> Tensor:
        """Noise of a noisy mask, given what `encode` says of the image.

        Parameters
        ----------
        noisy : (B, M, *S) Tensor
        timesteps : (B,) Tensor
            As the network was trained with: the authors' medical configuration counts
            0 to 99 for its 100 steps and does not rescale them.
        features : sequence of (B, C_l, *S / 2**l) Tensor

        Returns
        -------
        (B, M, *S) or, with learned variance, (B, 2M, *S) Tensor
        """
        each = self.blocks + 1  # outputs of a level; the last is the level below's

        def conditioned(index: int, x: Tensor) -> Tensor:
            level, within = divmod(index, each)
            if within or level >= len(features):
                return x
            return x + features[level]

        embedding = self.told(timesteps, noisy.dtype)
        kept = self.descend(noisy, embedding, conditioned)
        return self.ascend(kept[-1], embedding, kept)

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """`denoise` with the features of `image` (B, C, *S)."""
        return self.denoise(noisy, timesteps, self.encode(image))


def build(**config: object) -> SegDiff:
    """Build a `SegDiff`."""
    return SegDiff(**config)  # type: ignore[arg-type]
