"""A compact conditional denoiser over 2 or 3 dimensions, in two towers.

The image tower is a residual U-Net that sees the image alone: it runs once per
image. The member tower is a slim U-Net that sees one noisy mask and the noise
level, takes the image tower's features at every resolution, and corrects the image
tower's logits: it runs once per member and step. Where the noise leaves nothing to
see, the answer is the image tower's; where it leaves something, the member tower
says what follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """What the image tower hands to every member and step.

    `maps` are finest first, (B, C_l, *S / 2**l); `logits` are the image tower's
    own answers at the finest and the second resolution, (B, K, ...).
    """

    maps: tuple[Tensor, ...]
    logits: tuple[Tensor, Tensor]

    def expanded(self, members: int) -> ImageFeatures:
        """Repeat each image for its members, members of one image side by side."""
        if members == 1:
            return self
        return ImageFeatures(
            tuple(m.repeat_interleave(members, 0) for m in self.maps),
            (
                self.logits[0].repeat_interleave(members, 0),
                self.logits[1].repeat_interleave(members, 0),
            ),
        )


class InstanceNorm(nn.Module):
    """Instance normalisation with a learned scale and shift per channel.

    Each image goes through the batch normalisation kernel on its own: on a CPU with
    channels last that is several times faster, there and back, than the group and
    instance normalisation kernels, and gives the same numbers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, *S), each image and channel on its own."""
        if x[0, 0].numel() == 1:  # nothing to normalise over
            return x
        return torch.cat(
            [
                functional.batch_norm(one, None, None, self.weight, self.bias, True)
                for one in torch.split(x, 1)
            ]
        )


class ResidualBlock(nn.Module):
    """Two 3-wide convolutions with a skip, optionally shifted by the noise level."""

    def __init__(self, dims: int, cin: int, cout: int, embedding: int = 0) -> None:
        super().__init__()
        conv = _CONV[dims]
        self.conv1 = conv(cin, cout, 3, padding=1)
        self.norm1 = InstanceNorm(cout)
        self.conv2 = conv(cout, cout, 3, padding=1)
        self.norm2 = InstanceNorm(cout)
        self.skip = conv(cin, cout, 1) if cin != cout else nn.Identity()
        self.film = nn.Linear(embedding, 2 * cout) if embedding else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """(B, cin, *S) and the noise level's (B, E) -> (B, cout, *S)."""
        h = self.norm1(self.conv1(x))
        if self.film is not None:
            film = self.film(embedding)
            film = film.reshape(*film.shape, *(1,) * (x.ndim - 2))
            scale, shift = film.chunk(2, 1)
            h = torch.addcmul(shift, h, 1 + scale)
        h = functional.silu(h)
        h = self.norm2(self.conv2(h))
        return functional.silu(h + self.skip(x))


def noise_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoidal features of the noise level, (B,) -> (B, width) (Ho et al. 2020)."""
    half = width // 2
    steps = torch.arange(half, device=timesteps.device, dtype=torch.float32) / half
    rates = torch.exp(-math.log(10_000.0) * steps)
    phase = timesteps.float()[:, None] * rates[None]
    return torch.cat([phase.cos(), phase.sin()], dim=1)


class _Tower(nn.Module):
    """A residual U-Net: `down` and `up` blocks, joined by sums of projected maps."""

    def __init__(
        self, dims: int, cin: int, channels: Sequence[int], embedding: int = 0
    ) -> None:
        super().__init__()
        conv = _CONV[dims]
        self.mode = {2: "bilinear", 3: "trilinear"}[dims]
        below = [cin, *channels[:-1]]
        self.down = nn.ModuleList(
            ResidualBlock(dims, a, b, embedding)
            for a, b in zip(below, channels, strict=True)
        )
        self.pool = nn.ModuleList(conv(c, c, 2, stride=2) for c in channels[:-1])
        pairs = list(zip(channels[1:], channels[:-1], strict=True))
        self.narrow = nn.ModuleList(conv(a, b, 1) for a, b in pairs)
        self.up = nn.ModuleList(
            ResidualBlock(dims, b, b, embedding) for b in channels[:-1]
        )

    def encode(self, x: Tensor, embedding: Tensor | None) -> list[Tensor]:
        maps = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool[level - 1](x), embedding)
            maps.append(x)
        return maps

    def decode(self, maps: list[Tensor], embedding: Tensor | None) -> list[Tensor]:
        x = maps[-1]
        out = [x]
        for level in range(len(maps) - 2, -1, -1):
            x = self.narrow[level](x)
            x = functional.interpolate(x, scale_factor=2.0, mode=self.mode)
            x = self.up[level](x + maps[level], embedding)
            out.append(x)
        return out[::-1]


class CompactUNet(nn.Module):
    """Two-tower denoiser that predicts the logits of the clean mask (x0).

    Parameters
    ----------
    dims : {2, 3}
        Spatial dimensions.
    image_channels : int
        Channels of the image (with 2.5D context: channels x slices).
    classes : int
        Classes with background, at least 2.
    channels, member_channels : sequence of int
        Width of each resolution of the image and of the member tower.
    embedding : int
        Width of the noise level's embedding.
    """

    def __init__(
        self,
        dims: int = 3,
        image_channels: int = 1,
        classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192),
        member_channels: Sequence[int] = (16, 32, 48, 64),
        embedding: int = 64,
    ) -> None:
        super().__init__()
        if len(channels) != len(member_channels):
            raise TypeError("channels and member_channels differ in length")
        conv = _CONV[dims]
        self.dims = dims
        self.classes = classes
        self.embedding = embedding
        self.image_tower = _Tower(dims, image_channels, channels)
        self.head = conv(channels[0], classes, 1)
        self.head_coarse = conv(channels[1], classes, 1)
        self.level = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.member_tower = _Tower(dims, classes, member_channels, embedding)
        self.bridge = nn.ModuleList(
            conv(a, b, 1) for a, b in zip(channels, member_channels, strict=True)
        )
        self.correct = conv(member_channels[0], classes, 1)
        # Members begin as the image tower's answer and learn what noise adds to it.
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(cast("Tensor", self.correct.bias))

    @property
    def mask_channels(self) -> int:
        """Channels of the noisy mask: every class has one, background too."""
        return self.classes

    @property
    def learned_variance(self) -> bool:
        """Whether the answer places a variance: it does not."""
        return False

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        return int(2 ** len(self.image_tower.pool))

    def encode(self, image: Tensor) -> ImageFeatures:
        """Image features, once per image: (B, C, *S) -> `ImageFeatures`."""
        tower = self.image_tower
        maps = tower.decode(tower.encode(image, None), None)
        logits = (self.head(maps[0]), self.head_coarse(maps[1]))
        bridged = tuple(b(m) for b, m in zip(self.bridge, maps, strict=True))
        return ImageFeatures(bridged, logits)

    def denoise(
        self, noisy: Tensor, timesteps: Tensor, features: ImageFeatures
    ) -> Tensor:
        """Logits of the clean mask, (B, K, *S), from a noisy one-hot mask.

        `features` belong to the same batch, or to one image for all of it.
        """
        level = self.level(noise_embedding(timesteps, self.embedding).to(noisy.dtype))
        tower = self.member_tower
        maps = tower.encode(noisy, level)
        fused = [m + f for m, f in zip(maps, features.maps, strict=True)]
        correction = self.correct(tower.decode(fused, level)[0])
        answer: Tensor = features.logits[0] + correction
        return answer

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """Logits of the clean mask: (B, K, *S), (B,), (B, C, *S) -> (B, K, *S)."""
        return self.denoise(noisy, timesteps, self.encode(image))


def build(**config: object) -> CompactUNet:
    """Build a `CompactUNet`."""
    return CompactUNet(**config)  # type: ignore[arg-type]
