"""Residual-in-residual dense blocks (Wang et al. 2018), which read SegDiff's image.

Modules bear the published names, so that published weights fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks.guided_blocks import CONV

_SLOPE = 0.2  # of every rectifier below zero
_SCALE = 0.2  # of every residual


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it gave."""

    def __init__(self, dims: int, width: int, growth: int) -> None:
        super().__init__()
        conv = CONV[dims]
        self.conv1 = conv(width, growth, 3, padding=1)
        self.conv2 = conv(width + growth, growth, 3, padding=1)
        self.conv3 = conv(width + 2 * growth, growth, 3, padding=1)
        self.conv4 = conv(width + 3 * growth, growth, 3, padding=1)
        self.conv5 = conv(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(_rectified(conv(torch.cat(seen, dim=1))))
        answer: Tensor = x + _SCALE * self.conv5(torch.cat(seen, dim=1))
        return answer


class ResidualDense(nn.Module):
    """Three dense blocks within one more residual."""

    def __init__(self, dims: int, width: int, growth: int) -> None:
        super().__init__()
        self.RDB1 = DenseBlock(dims, width, growth)
        self.RDB2 = DenseBlock(dims, width, growth)
        self.RDB3 = DenseBlock(dims, width, growth)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        answer: Tensor = x + _SCALE * self.RDB3(self.RDB2(self.RDB1(x)))
        return answer


class DenseReader(nn.Module):
    """SegDiff's G: the features of an image, at its own resolution.

    Parameters
    ----------
    dims : {2, 3}
        Spatial dimensions.
    image_channels : int
        Channels of the image.
    out_channels : int
        Channels of the features.
    blocks : int
        Residual-in-residual dense blocks.
    width, growth : int
        Width of the trunk, and what each convolution within a dense block adds.
    """

    def __init__(
        self,
        dims: int,
        image_channels: int,
        out_channels: int,
        blocks: int,
        width: int = 64,
        growth: int = 32,
    ) -> None:
        super().__init__()
        conv = CONV[dims]
        self.conv_first = conv(image_channels, width, 3, padding=1)
        self.RRDB_trunk = nn.Sequential(
            *(ResidualDense(dims, width, growth) for _ in range(blocks))
        )
        self.trunk_conv = conv(width, width, 3, padding=1)
        self.HRconv = conv(width, width, 3, padding=1)
        self.conv_last = conv(width, out_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *S) to (B, out_channels, *S)."""
        first = self.conv_first(image)
        read = first + self.trunk_conv(self.RRDB_trunk(first))
        answer: Tensor = self.conv_last(_rectified(self.HRconv(read)))
        return answer


def _rectified(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, _SLOPE, inplace=True)
