"""What the networks of weak methods share: a diffusion model and a noisy classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.networks.noisy_classifier import NoisyClassifier


class WeakPair(nn.Module):
    """A class-conditional diffusion model and a classifier of noisy images.

    Parameters
    ----------
    image_channels : int
    classes : int
        Foreground classes K.
    diffusion, classifier : mapping
        Configurations of `ClassUNet` and `NoisyClassifier`, besides channels and
        classes.
    """

    learned_variance = False
    dims = 2
    local: LocalClassifier | None
    """Asked beside the two, if there is one."""
    local_slices = 0.0

    def __init__(
        self,
        image_channels: int,
        classes: int,
        diffusion: Mapping[str, Any] | None,
        classifier: Mapping[str, Any] | None,
    ) -> None:
        super().__init__()
        shared: dict[str, Any] = {"image_channels": image_channels, "classes": classes}
        self.diffusion = ClassUNet(**shared, **dict(diffusion or {}))
        self.classifier = NoisyClassifier(**shared, **dict(classifier or {}))
        self.local = None
        self.image_channels, self.classes = image_channels, classes

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        return max(self.diffusion.multiple, self.classifier.multiple)

    @property
    def mask_channels(self) -> int:
        """Foreground classes."""
        return self.classes

    def encode(self, image: Tensor) -> Tensor:
        """The image itself: a look at it begins with noise."""
        return image

    @abstractmethod
    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """One look at images, for timing alone."""

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """`denoise` of `image`."""
        return self.denoise(noisy, timesteps, self.encode(image))
