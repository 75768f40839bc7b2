"""The networks of two baselines that change an image to see where it changes.

A class-conditional diffusion model and a noisy classifier, those of CLDF: its weights
fit. `perturbed` is the CDM of Hu et al. 2023, `anomaly` Wolleb et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.noisy_classifier import NoisyClassifier

Kind = Literal["perturbed", "anomaly"]


class Cdm(nn.Module):
    """All that a map of changes takes.

    Parameters
    ----------
    image_channels : int
    classes : int
        Foreground classes K.
    diffusion, classifier : mapping
        Configurations of `ClassUNet` and `NoisyClassifier`, besides channels and
        classes.
    kind : {"perturbed", "anomaly"}
    level : int
        Timestep that images are noised to.
    share : float
        tau of the perturbed condition, in [0, 1).
    scale : float
        s of the guidance towards health.
    encoded : bool
        Whether kind anomaly encodes images by DDIM, rather than by noise.
    timesteps : sequence of int
        Noise levels at which the classifier says what slices show.
    gate : float
        See `diffseg.networks.cldf.Cldf`.
    """

    learned_variance = False
    dims = 2

    def __init__(
        self,
        image_channels: int = 4,
        classes: int = 1,
        diffusion: Mapping[str, Any] | None = None,
        classifier: Mapping[str, Any] | None = None,
        kind: Kind = "perturbed",
        level: int = 400,
        share: float = 0.95,
        scale: float = 100.0,
        encoded: bool = True,
        timesteps: Sequence[int] = (50, 150, 250),
        gate: float = 0.5,
    ) -> None:
        super().__init__()
        if kind not in ("perturbed", "anomaly"):
            raise TypeError(f"kind is {kind!r}; give perturbed or anomaly")
        if not 0 <= share < 1:
            raise TypeError(f"share is {share}; give 0 or more, and less than 1")
        shared: dict[str, Any] = {"image_channels": image_channels, "classes": classes}
        self.diffusion = ClassUNet(**shared, **dict(diffusion or {}))
        self.classifier = NoisyClassifier(**shared, **dict(classifier or {}))
        self.image_channels, self.classes = image_channels, classes
        self.kind: Kind = kind
        self.level, self.share, self.scale = level, share, scale
        self.encoded, self.gate = encoded, gate
        self.timesteps = tuple(timesteps)

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

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """One evaluation of the diffusion model, for timing alone."""
        image = features.expand(len(noisy), *features.shape[1:])
        nothing = torch.zeros(
            (len(noisy), self.classes), dtype=torch.long, device=noisy.device
        )
        answer: Tensor = self.diffusion(image, timesteps, nothing)
        return answer

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """`denoise` of `image`."""
        return self.denoise(noisy, timesteps, self.encode(image))


def build(**config: object) -> Cdm:
    """Build a `Cdm`."""
    return Cdm(**config)  # type: ignore[arg-type]
