"""A classifier of slices: what is present, from image-level labels alone."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from diffseg.networks.stages import Stages


def build(
    channels: int = 1,
    classes: int = 1,
    backbone: str = "resnet18",
    norm: Literal["batch", "instance"] = "batch",
    output_stride: int = 32,
) -> SliceClassifier:
    """Build the classifier; see `SliceClassifier`."""
    return SliceClassifier(channels, classes, backbone, norm, output_stride)


class SliceClassifier(nn.Module):
    """A residual network, the mean over its last maps, and one linear layer.

    Parameters
    ----------
    channels : int
        Of the image.
    classes : int
        Structures K, each present or absent by itself.
    backbone, norm, output_stride
        See `Stages`.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 1,
        backbone: str = "resnet18",
        norm: Literal["batch", "instance"] = "batch",
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Stages(channels, backbone, norm, output_stride)
        self.head = nn.Linear(self.backbone.widths[-1], classes)

    def stages(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of the four stages of images (B, C, Y, X)."""
        maps: tuple[Tensor, ...] = self.backbone(image)
        return maps

    def answer(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, K) of the maps' last stage."""
        logits: Tensor = self.head(maps[-1].mean((2, 3)))
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, Y, X)."""
        return self.answer(self.stages(image))
