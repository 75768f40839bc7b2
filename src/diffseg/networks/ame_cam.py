"""AME-CAM's network: an exit after each stage, and an aggregation of their maps.

After each of four stages a 1x1 convolution gives an activation map for each structure,
whose mean is a logit (Chen et al. 2023, section 2.1). The aggregation network weighs
the four maps pixel by pixel (section 2.2).

The published code aggregates raw maps and turns the result upside down. Here each
exit's map is brought to 0..1 slice by slice, so that what is aggregated stands in 0..1
too, as its loss takes it for a mask, and nothing is turned: see
`diffseg.segmenters.cams.sign` for how a sign is decided without a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.networks.stages import Stages

EXITS = 4
_LEAST = 1e-6


def build(
    channels: int = 1,
    classes: int = 1,
    backbone: str = "resnet18",
    norm: Literal["batch", "instance"] = "instance",
    output_stride: int = 32,
    width: int = 32,
) -> AmeCam:
    """Build the network; see `AmeCam`."""
    return AmeCam(channels, classes, backbone, norm, output_stride, width)


class AmeCam(nn.Module):
    """A residual network with four exits, and the aggregation of their maps.

    Parameters
    ----------
    channels : int
        Of the image.
    classes : int
        Structures K; the aggregation is one and the same for all.
    backbone, norm, output_stride
        See `Stages`.
    width : int
        Channels within the aggregation network.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 1,
        backbone: str = "resnet18",
        norm: Literal["batch", "instance"] = "instance",
        output_stride: int = 32,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Stages(channels, backbone, norm, output_stride)
        self.exits = nn.ModuleList(
            nn.Conv2d(w, classes, 1) for w in self.backbone.widths
        )
        widths = (EXITS, width, width, width, EXITS)
        self.aggregation = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
                for before, after in pairwise(widths)
            )
        )

    def stages(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of the four stages of images (B, C, Y, X)."""
        maps: tuple[Tensor, ...] = self.backbone(image)
        return maps

    def exit_maps(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Activation maps (B, K, Y_i, X_i) of the four exits."""
        return tuple(exit_(one) for exit_, one in zip(self.exits, maps, strict=True))

    def answer(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, K) of the last exit."""
        return self.exit_maps(maps)[-1].mean((2, 3))

    def aggregated(
        self, image: Tensor, exits: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The exits' maps at full size, and what they are aggregated to.

        Returns
        -------
        (B, K, 4, Y, X) Tensor in 0..1
            Of each exit.
        (B, K, Y, X) Tensor in 0..1
            Their mean, weighed pixel by pixel.
        """
        size = image.shape[2:]
        full = [
            unit_range(functional.interpolate(one, size, mode="bilinear"))
            for one in exits
        ]
        each = torch.stack(full, 2)
        seen = each * grey_of(image)[:, :, None]
        weights = self.aggregation(seen.flatten(0, 1)).softmax(1)
        return each, (weights.view_as(each) * each).sum(2)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, Y, X)."""
        return self.answer(self.stages(image))


def unit_range(maps: Tensor) -> Tensor:
    """Maps (..., Y, X), each brought to 0..1; a constant one becomes 0."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(_LEAST)


def grey_of(image: Tensor) -> Tensor:
    """The mean of the channels (B, 1, Y, X) of images, each in 0..1."""
    return unit_range(image.mean(1, keepdim=True))
