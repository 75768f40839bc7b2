"""CLDF's networks in one: diffusion model, noisy classifier, pixel decoder.

Zeng et al. 2025, "Contrastive Learning with Diffusion Features": the diffusion model is
frozen and gives the features of pixels, the decoder embeds them, and the classifier
says which slices show a class at all, where nobody has said so. A classifier of small
windows, which CLDF has not, may be asked beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from diffseg.domain.slice_labels import PRESENT
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.networks.pixel_decoder import PixelDecoder
from diffseg.networks.slice_classifier import SliceClassifier
from diffseg.networks.weak_pair import WeakPair

Features = Literal["diffusion", "classifier", "encoder"]


class Cldf(WeakPair):
    """All that a proposal from image-level labels takes.

    Parameters
    ----------
    image_channels : int
    classes : int
        Foreground classes K.
    diffusion, classifier : mapping
        Configurations of `ClassUNet` and `NoisyClassifier`, besides channels and
        classes.
    features : {"diffusion", "classifier", "encoder"}
        Whose blocks the features of pixels come from.
    encoder : mapping, optional
        Configuration of a `SliceClassifier`, a residual network that sees no noise, for
        features of it.
    blocks : sequence of int
        Of the diffusion model's way up, of the classifier's way down, or stages of the
        encoder.
    timesteps : sequence of int
        Noise levels that features are averaged over; a member takes as many of them as
        it has steps.
    width, layers : int
        Of the decoder.
    temperature : float
        Of the contrastive loss, and of the probabilities; see
        `diffseg.segmenters.weak.clusters.shares`.
    gate : float
        Probability from which a class is looked for in a slice of which nobody said
        whether it is there.
    starts, iterations : int
        Of K-means; see `diffseg.segmenters.weak.clusters.clustered`.
    local : mapping, optional
        Configuration of a `LocalClassifier`, besides channels and classes: its maps are
        added to the log-odds of pixels, and it says what slices show in place of the
        noisy classifier.
    local_weight : float
        Of its maps, which are log-odds too.
    local_slices : float
        Standard deviation of the Gaussian by which its maps of neighbouring slices are
        averaged, in slices; 0: each slice by itself.
    refinement_iterations : int
        Of the refinement of probabilities by pixels that look alike; 0: none. See
        `diffseg.segmenters.refining.pixels`.
    refinement_dilations : sequence of int
        Distances of the neighbours that it looks at, in pixels.
    """

    references: Tensor
    offsets: Tensor

    def __init__(
        self,
        image_channels: int = 4,
        classes: int = 1,
        diffusion: Mapping[str, Any] | None = None,
        classifier: Mapping[str, Any] | None = None,
        features: Features = "diffusion",
        encoder: Mapping[str, Any] | None = None,
        blocks: Sequence[int] = (7, 8, 10, 11, 16),
        timesteps: Sequence[int] = (50, 150, 250),
        width: int = 16,
        layers: int = 4,
        temperature: float = 0.1,
        gate: float = 0.5,
        starts: int = 1,
        iterations: int = 25,
        local: Mapping[str, Any] | None = None,
        local_weight: float = 0.5,
        local_slices: float = 0.0,
        refinement_iterations: int = 0,
        refinement_dilations: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__(image_channels, classes, diffusion, classifier)
        if local is not None:
            self.local = LocalClassifier(image_channels, classes, **dict(local))
            if temperature <= 0:
                raise TypeError(
                    f"temperature is {temperature}: without log-odds of pixels nothing "
                    "can be added to them; give more than 0, or no local"
                )
        self.local_weight, self.local_slices = local_weight, local_slices
        self.features: Features = features
        self.blocks, self.timesteps = tuple(blocks), tuple(timesteps)
        if not self.timesteps or min(self.timesteps) < 0:
            raise TypeError(f"timesteps are {self.timesteps}; give one or more")
        if features not in get_args(Features):
            raise TypeError(
                f"features is {features!r}; give {' or '.join(get_args(Features))}"
            )
        self.encoder = None
        if features == "encoder":
            self.encoder = SliceClassifier(
                image_channels, classes, **dict(encoder or {})
            )
        try:
            self.widths = self._widths()
        except ValueError as err:
            raise TypeError(str(err)) from err
        self.decoder = PixelDecoder(self.widths, width, layers)
        self.register_buffer("references", torch.zeros(classes + 1, width))
        self.register_buffer("offsets", torch.zeros(classes + 1))
        self.temperature, self.gate = temperature, gate
        self.starts, self.iterations = starts, iterations
        self.refinement_iterations = refinement_iterations
        self.refinement_dilations = tuple(refinement_dilations)
        if not self.refinement_dilations or min(self.refinement_dilations) < 1:
            raise TypeError(
                f"refinement_dilations are {self.refinement_dilations}; give some of 1 "
                "and more"
            )
        if refinement_iterations < 0:
            raise TypeError(
                f"refinement_iterations is {refinement_iterations}; give 0 or more"
            )

    def _widths(self) -> tuple[int, ...]:
        """Channels of the maps of the blocks; `ValueError` if there is none such."""
        if self.encoder is None:
            source = self.diffusion if self.features == "diffusion" else self.classifier
            return source.feature_widths(self.blocks)
        stages = self.encoder.backbone.widths
        if not self.blocks or min(self.blocks) < 0 or max(self.blocks) >= len(stages):
            raise ValueError(f"blocks are {self.blocks}; give 0 to {len(stages) - 1}")
        return tuple(stages[index] for index in self.blocks)

    def encoder_maps(self, image: Tensor) -> list[Tensor]:
        """Maps (B, C_b, Y_b, X_b) of the encoder's stages of slices (B, C, Y, X)."""
        assert self.encoder is not None
        maps = self.encoder.stages(image)
        return [maps[index] for index in self.blocks]

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        least = 1 if self.encoder is None else self.encoder.backbone.least
        return max(super().multiple, least)

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Embeddings (B, E, Y, X) after one look at images, for timing alone."""
        image = features.expand(len(noisy), *features.shape[1:])
        if self.features == "encoder":
            return self.decoder.from_maps(self.encoder_maps(image), image.shape[2:])
        if self.features == "classifier":
            maps = self.classifier.feature_maps(image, timesteps, self.blocks)
            return self.decoder.from_maps(maps, image.shape[2:])
        states = torch.full(
            (len(noisy), self.classes), PRESENT, dtype=torch.long, device=noisy.device
        )
        condition = self.diffusion.condition(states).to(image.dtype)
        maps = self.diffusion.feature_maps(image, timesteps, condition, self.blocks)
        return self.decoder.from_maps(maps, image.shape[2:])


def build(**config: object) -> Cldf:
    """Build a `Cldf`."""
    return Cldf(**config)  # type: ignore[arg-type]
