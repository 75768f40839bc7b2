"""SEAM's network: activation maps that a pixel correlation refines (Wang et al. 2020).

A 1x1 convolution of the last stage gives one activation map for each structure, whose
mean is its logit. The pixel correlation module (PCM, section 3.3) lets each pixel take
from those that look like it, by affinities of the image itself and of the maps of the
last two stages, from which no gradient goes back into the network.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks.stages import Stages

_LEAST = 1e-5


def build(
    channels: int = 1,
    classes: int = 1,
    backbone: str = "resnet18",
    norm: Literal["batch", "instance"] = "batch",
    output_stride: int = 16,
) -> Seam:
    """Build the network; see `Seam`."""
    return Seam(channels, classes, backbone, norm, output_stride)


class Seam(nn.Module):
    """A residual network with activation maps and the pixel correlation module.

    Parameters
    ----------
    channels : int
        Of the image.
    classes : int
        Structures K; background is none of them.
    backbone, norm, output_stride
        See `Stages`.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 1,
        backbone: str = "resnet18",
        norm: Literal["batch", "instance"] = "batch",
        output_stride: int = 16,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Stages(channels, backbone, norm, output_stride)
        third, fourth = self.backbone.widths[2:]
        self.activation = nn.Conv2d(fourth, classes, 1, bias=False)
        self.from_third = nn.Conv2d(third, 64, 1, bias=False)
        self.from_fourth = nn.Conv2d(fourth, 128, 1, bias=False)
        self.mixed = nn.Conv2d(64 + 128 + channels, 192, 1, bias=False)

    def stages(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of the four stages of images (B, C, Y, X)."""
        maps: tuple[Tensor, ...] = self.backbone(image)
        return maps

    def answer(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, K): means of the activation maps."""
        return self.activations(maps).mean((2, 3))

    def activations(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Activation maps (B, K, y, x), before any rectification."""
        found: Tensor = self.activation(maps[-1])
        return found

    def affinity(self, image: Tensor, maps: tuple[Tensor, ...]) -> Tensor:
        """Affinities (B, n, n) of the n pixels of the last map; columns sum to 1."""
        third, fourth = maps[-2].detach(), maps[-1].detach()
        size = fourth.shape[2:]
        parts = [
            _resized(image, size),
            functional.relu(self.from_third(_resized(third, size))),
            functional.relu(self.from_fourth(fourth)),
        ]
        features = self.mixed(torch.cat(parts, 1)).flatten(2)
        features = features / (features.norm(dim=1, keepdim=True) + _LEAST)
        alike = functional.relu(features.transpose(1, 2) @ features)
        affinities: Tensor = alike / (alike.sum(1, keepdim=True) + _LEAST)
        return affinities

    def refined(
        self, activations: Tensor, image: Tensor, maps: tuple[Tensor, ...]
    ) -> Tensor:
        """Activation maps (B, K, y, x), each pixel a mean over those like it."""
        mixed = activations.flatten(2) @ self.affinity(image, maps)
        return mixed.view_as(activations)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, Y, X)."""
        return self.answer(self.stages(image))


def _resized(image: Tensor, size: torch.Size) -> Tensor:
    if image.shape[2:] == size:
        return image
    return functional.interpolate(image, size, mode="bilinear", align_corners=False)
