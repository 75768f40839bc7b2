"""Four stages of a residual network from timm: what classifiers of slices share."""

from __future__ import annotations

from typing import Any, Literal, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from diffseg.errors import UserError

BACKBONES = ("resnet18", "resnet34", "resnet50")


@runtime_checkable
class Staged(Protocol):
    """A classifier whose answer is computed from the maps of its last stage.

    Attributes
    ----------
    classes : int
        Structures K.
    """

    classes: int

    def stages(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, W_i, Y_i, X_i), all >= 0, of each stage of images (B, C, Y, X)."""
        ...

    def answer(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, K) that these maps lead to."""
        ...


class Stages(nn.Module):
    """The stages of a residual network (He et al. 2016), without its head.

    Parameters
    ----------
    channels : int
        Of the image.
    backbone : {"resnet18", "resnet34", "resnet50"}
        As timm calls it.
    norm : {"batch", "instance"}
        Instance normalisation has no weights, as in AME-CAM.
    output_stride : {8, 16, 32}
        Pixels of the image per pixel of the last map; below 32, convolutions of the
        last stages are dilated instead.
    """

    def __init__(
        self,
        channels: int,
        backbone: str = "resnet18",
        norm: Literal["batch", "instance"] = "batch",
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        import timm

        if backbone not in BACKBONES:
            raise UserError(
                f"backbone {backbone!r} is not one of {', '.join(BACKBONES)}"
            )
        if output_stride not in (8, 16, 32):
            raise UserError(f"output_stride {output_stride} is not 8, 16 or 32")
        kinds: dict[str, type[nn.Module]] = {
            "batch": nn.BatchNorm2d,
            "instance": nn.InstanceNorm2d,
        }
        if norm not in kinds:
            raise UserError(f"norm {norm!r} is not one of {', '.join(kinds)}")
        self.least = 32
        # Nothing is downloaded: first weights come from a folder, if at all.
        body: Any = timm.create_model(
            backbone,
            pretrained=False,
            features_only=True,
            out_indices=(1, 2, 3, 4),
            in_chans=channels,
            output_stride=output_stride,
            norm_layer=kinds[norm],
        )
        self.body = body
        self.widths: tuple[int, ...] = tuple(body.feature_info.channels())

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of the four stages, from the finest to the coarsest.

        Raises
        ------
        UserError
            The image is smaller than the stride of the network.
        """
        if min(image.shape[2:]) < self.least:
            size = " x ".join(map(str, image.shape[2:]))
            raise UserError(
                f"slices of {size} pixels are smaller than the network's stride of "
                f"{self.least}: give preparation.size and patch at least as much"
            )
        return tuple(cast("list[Tensor]", self.body(image)))
