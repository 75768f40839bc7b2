"""The networks of two baselines that change an image to see where it changes.

A class-conditional diffusion model and a noisy classifier, those of CLDF: its weights
fit. `perturbed` is the CDM of Hu et al. 2023, `anomaly` Wolleb et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from diffseg.networks.weak_pair import WeakPair

Kind = Literal["perturbed", "anomaly"]


class Cdm(WeakPair):
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
        if kind not in ("perturbed", "anomaly"):
            raise TypeError(f"kind is {kind!r}; give perturbed or anomaly")
        if not 0 <= share < 1:
            raise TypeError(f"share is {share}; give 0 or more, and less than 1")
        super().__init__(image_channels, classes, diffusion, classifier)
        self.kind: Kind = kind
        self.level, self.share, self.scale = level, share, scale
        self.encoded, self.gate = encoded, gate
        self.timesteps = tuple(timesteps)

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """One evaluation of the diffusion model, for timing alone."""
        image = features.expand(len(noisy), *features.shape[1:])
        nothing = torch.zeros(
            (len(noisy), self.classes), dtype=torch.long, device=noisy.device
        )
        answer: Tensor = self.diffusion(image, timesteps, nothing)
        return answer


def build(**config: object) -> Cdm:
    """Build a `Cdm`."""
    return Cdm(**config)  # type: ignore[arg-type]
