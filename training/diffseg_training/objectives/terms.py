"""Terms that the objectives of segmenters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.networks.compact_unet import ImageFeatures


class Weights(Protocol):
    """What the terms of a segmentation loss weigh."""

    @property
    def dice(self) -> float:
        """Weight of the Dice loss."""

    @property
    def cross_entropy(self) -> float:
        """Weight of the cross-entropy."""

    @property
    def deep(self) -> float:
        """Weight of the image tower's own answers."""


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(B, *S) class indices -> (B, K, *S) float32 in {0, 1}."""
    return functional.one_hot(classes, count).movedim(-1, 1).float()


def dice_loss(logits: Tensor, reference: Tensor) -> Tensor:
    """1 - soft Dice, mean over foreground classes, pooled over the batch.

    Pooling over the batch keeps a class that is absent from one patch from
    contributing a term that is all smoothing.
    """
    probability = logits.softmax(1)
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * reference).sum(axes)[1:]
    size = (probability + reference).sum(axes)[1:]
    return 1 - ((2 * overlap + 1.0) / (size + 1.0)).mean()


def segmentation_loss(logits: Tensor, classes: Tensor, config: Weights) -> Tensor:
    """Cross-entropy and soft Dice of (B, K, *S) logits, in float32."""
    logits = logits.float()
    total = config.cross_entropy * functional.cross_entropy(logits, classes)
    if config.dice:
        reference = one_hot(classes, logits.shape[1])
        total = total + config.dice * dice_loss(logits, reference)
    return total


def coarser(classes: Tensor, count: int) -> Tensor:
    """Class of the majority in each 2-wide block: (B, *S) -> (B, *S / 2)."""
    pool = functional.avg_pool3d if classes.ndim == 4 else functional.avg_pool2d
    return pool(one_hot(classes, count), 2).argmax(1)


def with_image_tower(
    total: Tensor,
    terms: Mapping[str, float],
    features: ImageFeatures,
    classes: Tensor,
    config: Weights,
) -> tuple[Tensor, Mapping[str, float]]:
    """Add the image tower's own answers at two resolutions: deep supervision."""
    if not config.deep:
        return total, terms
    fine, coarse = features.logits
    small = coarser(classes, fine.shape[1])
    deep = segmentation_loss(fine, classes, config)
    deep = deep + 0.5 * segmentation_loss(coarse, small, config)
    return total + config.deep * deep, {**terms, "deep": float(deep.detach())}


def as_noisy_range(probability: Tensor) -> Tensor:
    """Probabilities or one-hot masks in [0, 1] -> the range [-1, 1] that is noised."""
    return 2 * probability - 1


def normal(like: Tensor, sources: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers in the shape and on the device of `like` (B, ...).

    Every sample's come from its own source; of fewer sources than samples, each
    serves as many neighbouring samples.
    """
    each = len(like) // len(sources)
    shape = (each, *like.shape[1:])
    parts = [torch.randn(shape, generator=source) for source in sources]
    return torch.cat(parts).to(like)


def levels(
    low: int, high: int, each: int, sources: Sequence[torch.Generator]
) -> Tensor:
    """`each` timesteps in [low, high) for every sample: (B * each,) int64."""
    parts = [torch.randint(low, high, (each,), generator=one) for one in sources]
    return torch.cat(parts)
