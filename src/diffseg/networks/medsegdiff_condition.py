"""MedSegDiff's condition network (Wu et al. 2022): a plain U-Net over the clean image.

It is nnU-Net's generic U-Net with batch normalisation, and gives a mask of its own, the
calibration. In the first form it is fed features of the denoiser, filtered in the
frequency domain, at each level; in the newer form it runs alone, and its decoder's
maps go to the denoiser. Modules bear the published names, so that published weights
fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDEST = 480  # of every map, as in nnU-Net over 2 dimensions


class FrequencyFilter(nn.Module):
    """FF-Parser: a learned weight for each channel and frequency (Wu et al. 2022).

    Parameters
    ----------
    channels, side : int
        Of the maps that it filters, which are square.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        shape = (channels, side, side // 2 + 1, 2)
        self.complex_weight = nn.Parameter(torch.randn(shape) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, side, side) to the same shape."""
        # Transforms know neither half precision nor bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            spectrum = spectrum * torch.view_as_complex(self.complex_weight.float())
            filtered = torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho")
        answer: Tensor = filtered.to(x.dtype)
        return answer


class _Convolution(nn.Module):
    """Convolution, dropout of whole channels, batch normalisation, rectifier."""

    def __init__(self, cin: int, cout: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.instnorm = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Y, X) to (B, C', Y, X)."""
        normed = self.instnorm(self.dropout(self.conv(x)))
        return functional.leaky_relu(normed, 0.01, inplace=True)


class _Stack(nn.Module):
    """Convolutions one after another."""

    def __init__(self, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(_Convolution(a, b, dropout) for a, b in pairwise(widths))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Y, X) to (B, C', Y, X)."""
        answer: Tensor = self.blocks(x)
        return answer


class ConditionNet(nn.Module):
    """The condition network, in either form.

    Parameters
    ----------
    image_channels, mask_channels : int
        Channels of the image, and of the calibration.
    base : int
        Width of the first level; it doubles from level to level, up to 480.
    pools : int
        How often every extent is halved.
    dropout : float
        Share of channels dropped on the way down in training, in [0, 1).
    told : sequence of int
        Widths of the denoiser's features, at half the image's resolution, a quarter
        ...; none in the newer form.
    bottom : int
        Width of what is given to the denoiser's bottom, in the first form.
    image_size : int
        Side of the images that the filters are made for, in the first form.
    """

    def __init__(
        self,
        image_channels: int,
        mask_channels: int,
        base: int,
        pools: int,
        dropout: float,
        told: Sequence[int] = (),
        bottom: int = 0,
        image_size: int = 0,
    ) -> None:
        super().__init__()
        widths = [min(base * 2**depth, WIDEST) for depth in range(pools + 1)]
        self.pools = pools
        self.conv_blocks_context = nn.ModuleList()
        below = [image_channels, *widths[:-1]]
        for cin, width in zip(below[:-1], widths[:-1], strict=True):
            self.conv_blocks_context.append(_Stack((cin, width, width), dropout))
        deep = widths[-2]
        self.conv_blocks_context.append(
            nn.Sequential(
                _Stack((deep, widths[-1]), dropout), _Stack((widths[-1], deep), dropout)
            )
        )
        self.conv_blocks_localization = nn.ModuleList()
        for depth in range(pools - 1, -1, -1):
            width, above = widths[depth], widths[max(depth - 1, 0)]
            # What comes from below was narrowed to the width of this level.
            self.conv_blocks_localization.append(
                nn.Sequential(
                    _Stack((2 * width, width), 0.0), _Stack((width, above), 0.0)
                )
            )
        self.seg_outputs = nn.ModuleList(
            [nn.Conv2d(widths[0], mask_channels, 1, bias=False)]
        )
        self._tell(widths, told, bottom, image_size)
        self.apply(_kaiming)

    def _tell(
        self, widths: Sequence[int], told: Sequence[int], bottom: int, image_size: int
    ) -> None:
        """Append what reads the denoiser's features, and what answers its bottom."""
        self.conv_trans_blocks_a = nn.ModuleList()
        self.conv_trans_blocks_b = nn.ModuleList()
        self.ffparser = nn.ModuleList()
        for depth, width in enumerate(told):
            self.conv_trans_blocks_a.append(nn.Conv2d(width, widths[depth], 1))
            self.conv_trans_blocks_b.append(nn.Conv2d(widths[depth], 1, 1))
            side = image_size // 2 ** (depth + 1)
            self.ffparser.append(FrequencyFilter(widths[depth], side))
        # The public code makes this layer anew at every call, with random weights.
        self.embed = nn.Conv2d(widths[-2], bottom, 1) if bottom else None

    def forward(
        self, image: Tensor, told: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read an image.

        Parameters
        ----------
        image : (B, C, Y, X) Tensor
        told : sequence of (B, W_d, Y / 2**(d + 1), X / 2**(d + 1)) Tensor
            Features of the denoiser, in the first form.

        Returns
        -------
        bottom : Tensor
            The deepest map; in the first form as wide as the denoiser's.
        decoded : list of Tensor
            The way up's maps, the deepest first.
        calibration : (B, M, Y, X) Tensor
            The mask that this network sees, in (0, 1).
        """
        x, skips = image, []
        for depth in range(self.pools):
            x = self.conv_blocks_context[depth](x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
            if depth < len(told):
                x = self._heeding(x, depth, told[depth])
        x = self.conv_blocks_context[-1](x)
        bottom = x if self.embed is None else self.embed(x)
        decoded = []
        for block in self.conv_blocks_localization:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = block(torch.cat([x, skips.pop()], dim=1))
            decoded.append(x)
        return bottom, decoded, torch.sigmoid(self.seg_outputs[0](x))

    def _heeding(self, x: Tensor, depth: int, told: Tensor) -> Tensor:
        """Scale `x` by place and by channel, as the denoiser's features say."""
        h = self.ffparser[depth](self.conv_trans_blocks_a[depth](told))
        place: Tensor = self.conv_trans_blocks_b[depth](h)
        answer: Tensor = x * place * h.mean(dim=(2, 3), keepdim=True)
        return answer


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
