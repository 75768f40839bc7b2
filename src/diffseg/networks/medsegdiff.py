"""MedSegDiff (Wu et al. 2022): a denoiser with a condition network on the clean image.

The denoiser is EnsemDiff's. In the first form (`DynamicMedSegDiff`, "v1") the condition
network is told of the denoiser's features at each level, and answers at its bottom. In
the newer form of the public code (`MedSegDiff`, "new", its default) the condition
network runs first, on the image alone, and two of its decoder's maps are added to the
output of the denoiser's first convolution, detached: it learns from its own mask only.
Parameters bear the published names, but for one: the layer between the condition
network and the bottom, which the public code of the first form makes anew at every
call, with random weights, is registered here and learns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks.guided_unet import GuidedUNet
from diffseg.networks.medsegdiff_condition import ConditionNet

Features = tuple[Tensor, Tensor, Tensor]


class MedSegDiff(GuidedUNet):
    """The newer form: the condition network runs once per image.

    Parameters
    ----------
    condition_dropout : float
        Share of channels that the condition network drops on its way down in training.
    config
        As `GuidedUNet` takes it; two dimensions, and three levels at least. The
        condition network begins at a quarter of `channels`.
    """

    def __init__(self, condition_dropout: float = 0.5, **config: Any) -> None:
        super().__init__(**config)
        _check(self)
        self.hwm = ConditionNet(
            self.image_channels,
            self.mask_channels,
            self.channels // 4,
            self.levels - 1,
            condition_dropout,
        )

    def encode(self, image: Tensor) -> Features:  # type: ignore[override]
        """What the condition network says of the image (B, C, Y, X), and the image.

        Returns
        -------
        image : (B, C, Y, X) Tensor
        maps : (B, channels, Y, X) Tensor
            For the denoiser; no gradient goes back through them.
        calibration : (B, M, Y, X) Tensor
            The condition network's own mask, in (0, 1).
        """
        _, decoded, calibration = self.hwm(image)
        finer = _enlarged(decoded[-2], 2)
        coarser = _enlarged(decoded[-3], 4)
        maps = torch.cat([finer, finer, coarser], dim=1).detach()
        return image, maps, calibration

    def calibration(self, features: Features) -> Tensor:
        """The condition network's own mask (B, M, Y, X), in (0, 1)."""
        return features[2]

    def denoise(  # type: ignore[override]
        self, noisy: Tensor, timesteps: Tensor, features: Features
    ) -> Tensor:
        """Noise of a noisy mask (B, M, Y, X), and the variance's place."""
        image, maps, _ = features
        embedding = self.told(timesteps, noisy.dtype)

        def conditioned(index: int, x: Tensor) -> Tensor:
            return x if index else x + maps

        x = torch.cat([image, noisy], dim=1)
        kept = self.descend(x, embedding, conditioned)
        return self.ascend(kept[-1], embedding, kept)

    def denoise_calibrated(
        self, noisy: Tensor, timesteps: Tensor, features: Features
    ) -> tuple[Tensor, Tensor]:
        """`denoise`, and the calibration (B, M, Y, X), in (0, 1)."""
        return self.denoise(noisy, timesteps, features), features[2]


class DynamicMedSegDiff(GuidedUNet):
    """The first form: the condition network is told of the denoiser's features.

    They depend on the noise level, so that both networks run at every step, and the
    calibration is known with a step's answer only.

    Parameters
    ----------
    image_size : int
        Side of the images, which are square: the filters' weights are made for it.
    condition_dropout : float
        Share of channels that the condition network drops on its way down in training.
    config
        As `GuidedUNet` takes it; two dimensions, and three levels at least. The
        condition network begins at a quarter of `channels`.
    """

    def __init__(
        self, image_size: int = 256, condition_dropout: float = 0.5, **config: Any
    ) -> None:
        super().__init__(**config)
        _check(self)
        if image_size < self.multiple or image_size % self.multiple:
            raise TypeError(
                f"image_size is {image_size}; give a multiple of {self.multiple}"
            )
        self.image_size = image_size
        self.hwm = ConditionNet(
            self.image_channels,
            self.mask_channels,
            self.channels // 4,
            self.levels - 1,
            condition_dropout,
            told=self.widths[: self.levels - 2],
            bottom=self.widths[-1],
            image_size=image_size,
        )

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Noise of a noisy mask (B, M, Y, X), and the variance's place."""
        return self.denoise_calibrated(noisy, timesteps, features)[0]

    def denoise_calibrated(
        self, noisy: Tensor, timesteps: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`denoise`, and the calibration (B, M, Y, X), in (0, 1).

        Raises
        ------
        UserError
            The image is not `image_size` pixels on each side.
        """
        side = self.image_size
        if tuple(noisy.shape[2:]) != (side, side):
            raise UserError(
                f"image is {' x '.join(map(str, noisy.shape[2:]))} pixels, but this "
                f"MedSegDiff's filters are made for {side} x {side}; resize it"
            )
        embedding = self.told(timesteps, noisy.dtype)
        kept = self.descend(torch.cat([features, noisy], dim=1), embedding)
        each = self.blocks + 1  # the last output of each level is halved
        told = [kept[each * (depth + 1)] for depth in range(self.levels - 2)]
        bottom, _, calibration = self.hwm(features, told)
        return self.ascend(kept[-1] + bottom, embedding, kept), calibration


def _enlarged(x: Tensor, times: int) -> Tensor:
    return functional.interpolate(x, scale_factor=float(times), mode="bilinear")


def _check(network: GuidedUNet) -> None:
    if network.dims != 2:
        raise TypeError(f"dims is {network.dims}; MedSegDiff is for 2")
    if network.levels < 4:
        raise TypeError("multipliers: give four levels or more")


_FORMS: dict[str, Any] = {"new": MedSegDiff, "v1": DynamicMedSegDiff}


def build(version: str = "v1", **config: object) -> MedSegDiff | DynamicMedSegDiff:
    """Build MedSegDiff in its first form (``v1``, the paper's) or the ``new`` one."""
    if version not in _FORMS:
        raise TypeError(f"version is {version!r}; give one of {', '.join(_FORMS)}")
    network: MedSegDiff | DynamicMedSegDiff = _FORMS[version](**config)
    return network


__all__ = ["ConditionNet", "DynamicMedSegDiff", "MedSegDiff", "build"]
