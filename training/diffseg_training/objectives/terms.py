"""Terms that the objectives of segmenters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.diffusion import Prediction
from diffseg.errors import UserError
from diffseg.networks.compact_unet import ImageFeatures
from diffseg.networks.conditioned import Conditioned, Features
from diffseg_training.known import weights_of
from diffseg_training.recipe import Recipe
from diffseg_training.synchronised import sum_over_processes


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


@runtime_checkable
class Calibrated(Conditioned, Protocol):
    """A denoiser whose condition network answers for itself (MedSegDiff)."""

    def denoise_calibrated(
        self, noisy: Tensor, timesteps: Tensor, features: Features
    ) -> tuple[Tensor, Tensor]:
        """Answer as `denoise` does, and a mask (B, M, *S) in (0, 1) of its own."""
        ...


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(B, *S) class indices -> (B, K, *S) float32 in {0, 1}."""
    return functional.one_hot(classes, count).movedim(-1, 1).float()


def soft_dice_loss(probability: Tensor, reference: Tensor) -> Tensor:
    """1 - soft Dice, mean over channels, pooled over the batch.

    Pooling over the batch, that of all processes, keeps a class that is absent from
    one patch from contributing a term that is all smoothing.

    Parameters
    ----------
    probability, reference : (B, M, *S) Tensor
        Of the foreground classes.
    """
    axes = (0, *range(2, probability.ndim))
    overlap = sum_over_processes((probability * reference).sum(axes))
    size = sum_over_processes((probability + reference).sum(axes))
    return 1 - ((2 * overlap + 1.0) / (size + 1.0)).mean()


def dice_loss(logits: Tensor, reference: Tensor, known: Tensor | None = None) -> Tensor:
    """`soft_dice_loss` of the foreground classes of (B, K, *S), background first."""
    found, wanted = logits.softmax(1)[:, 1:], reference[:, 1:]
    return soft_dice_loss(*_only(known, found, wanted))


def segmentation_loss(
    logits: Tensor, classes: Tensor, config: Weights, known: Tensor | None = None
) -> Tensor:
    """Cross-entropy and soft Dice of (B, K, *S) logits, in float32.

    Only voxels that are `known` (B, *S) count.
    """
    logits = logits.float()
    entropy = functional.cross_entropy(
        logits, classes, reduction="mean" if known is None else "none"
    )
    total = config.cross_entropy * _mean(entropy, known)
    if config.dice:
        reference = one_hot(classes, logits.shape[1])
        total = total + config.dice * dice_loss(logits, reference, known)
    return total


def foreground_loss(
    logits: Tensor, classes: Tensor, config: Weights, known: Tensor | None = None
) -> Tensor:
    """Cross-entropy and soft Dice of each foreground class's own sigmoid.

    Parameters
    ----------
    logits : (B, M, *S) Tensor
        One channel for each class but background; in float32 they are weighed.
    classes : (B, *S) int64 Tensor
    config : Weights
    known : (B, *S) bool Tensor, optional
        The voxels that count; all without it.
    """
    logits = logits.float()
    reference = coded_mask(classes, logits.shape[1], (0.0, 1.0))
    entropy = functional.binary_cross_entropy_with_logits(
        logits, reference, reduction="mean" if known is None else "none"
    )
    total = config.cross_entropy * _mean(
        entropy, None if known is None else known[:, None]
    )
    if config.dice:
        parts = _only(known, logits.sigmoid(), reference)
        total = total + config.dice * soft_dice_loss(*parts)
    return total


def _mean(values: Tensor, known: Tensor | None) -> Tensor:
    """Mean over what is known; `values` are a mean already where all is."""
    return values if known is None else (values * weights_of(known)).mean()


def _only(known: Tensor | None, *parts: Tensor) -> tuple[Tensor, ...]:
    """The parts (B, M, *S), 0 where nothing is known."""
    return parts if known is None else tuple(one * known[:, None] for one in parts)


def coarser(classes: Tensor, count: int) -> Tensor:
    """Class of the majority in each 2-wide block: (B, *S) -> (B, *S / 2)."""
    pool = functional.avg_pool3d if classes.ndim == 4 else functional.avg_pool2d
    return pool(one_hot(classes, count), 2).argmax(1)


def known_blocks(known: Tensor) -> Tensor:
    """2-wide blocks of which every voxel is known: (B, *S) -> (B, *S / 2), bool."""
    pool = functional.avg_pool3d if known.ndim == 4 else functional.avg_pool2d
    return pool(known[:, None].float(), 2)[:, 0] > 1 - 1e-4


def with_image_tower(
    total: Tensor,
    terms: Mapping[str, float],
    features: ImageFeatures,
    classes: Tensor,
    config: Weights,
    known: Tensor | None = None,
) -> tuple[Tensor, Mapping[str, float]]:
    """Add the image tower's own answers at two resolutions: deep supervision."""
    if not config.deep:
        return total, terms
    fine, coarse = features.logits
    small = coarser(classes, fine.shape[1])
    small_known = None if known is None else known_blocks(known)
    deep = segmentation_loss(fine, classes, config, known)
    deep = deep + 0.5 * segmentation_loss(coarse, small, config, small_known)
    return total + config.deep * deep, {**terms, "deep": float(deep.detach())}


NOISY_RANGE = (-1.0, 1.0)


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


def coded_mask(
    classes: Tensor, channels: int, mask_range: tuple[float, float]
) -> Tensor:
    """Masks as they are noised where each foreground class has a channel.

    Parameters
    ----------
    classes : (B, *S) int64 Tensor
        0 is background, 1 to `channels` the foreground classes.
    channels : int
    mask_range : (low, high)
        What stands for outside and inside.

    Returns
    -------
    (B, channels, *S) float32 Tensor

    Raises
    ------
    UserError
        The masks hold more classes than the network has channels.
    """
    highest = int(classes.max())
    if highest > channels:
        raise UserError(
            f"masks hold class {highest}, the network has mask_channels {channels}; "
            f"set network.mask_channels to the number of classes without background"
        )
    low, high = mask_range
    return one_hot(classes, channels + 1)[:, 1:] * (high - low) + low


def sample_errors(
    answer: Tensor,
    wanted: Tensor,
    kind: Literal["l1", "l2"],
    weights: Tensor | None = None,
) -> Tensor:
    """Mean absolute or squared error of each sample, (B, M, *S) twice -> (B,).

    `weights` (B, *S), mean 1 over the batch, weigh the voxels.
    """
    difference = answer.float() - wanted.float()
    errors = difference.abs() if kind == "l1" else difference**2
    if weights is not None:
        errors = errors * weights[:, None]
    return errors.flatten(1).mean(1)


def drawn_timesteps(
    chances: Tensor | None, timesteps: int, sources: Sequence[torch.Generator]
) -> Tensor:
    """One timestep a sample, (B,) int64, by the chances (T,) or all alike."""
    if chances is None:
        return levels(0, timesteps, 1, sources)
    parts = [torch.multinomial(chances, 1, generator=source) for source in sources]
    return torch.cat(parts)


def checked_conditioned(network: nn.Module, recipe: Recipe) -> Conditioned:
    """Return the network as a denoiser that can be asked with the image's features.

    Raises
    ------
    UserError
        It is not one.
    """
    if not isinstance(network, Conditioned):
        raise UserError(
            f"objective {recipe.objective.name} of recipe {recipe.name} needs a "
            f"network that denoises masks, and {recipe.network['name']} does not"
        )
    return network


def predicted(recipe: Recipe) -> Prediction:
    """What the recipe's network predicts of a noised mask: eps, v or x0.

    Raises
    ------
    UserError
        It answers with classes.
    """
    kind = recipe.sampling.prediction
    if kind == "classes":
        raise UserError(
            f"objective {recipe.objective.name} of recipe {recipe.name} teaches "
            "no classes: set sampling.prediction to eps, v or x0"
        )
    return kind
