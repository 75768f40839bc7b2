"""x0 prediction of one-hot masks, with noise where information is lost.

Three kinds of noisy mask are shown for each image, in shares of the recipe:

- pure noise: what one-step sampling and the start of every chain meet;
- the reference, noised: the textbook forward process, at levels above `lowest`,
  since below it the answer can be read off the noisy mask itself;
- the network's own answer, noised: what every later step of a chain really meets.
  The target stays the reference, so that the network learns to mend its own
  mistakes instead of trusting what it is shown (recycling; Fu et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule, schedule_of
from diffseg.errors import UserError
from diffseg.networks.compact_unet import CompactUNet
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import (
    NOISY_RANGE,
    as_noisy_range,
    levels,
    normal,
    one_hot,
    segmentation_loss,
    with_image_tower,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.recycling import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe, for a network that answers with classes."""
    if not isinstance(network, CompactUNet):
        raise UserError(
            f"objective recycling of recipe {recipe.name} needs network compact_unet, "
            f"not {recipe.network['name']}; denoising teaches the others"
        )
    assert isinstance(recipe.objective, Settings)
    sampling = recipe.sampling
    if sampling.mask_range != NOISY_RANGE:
        raise UserError(
            f"objective recycling of recipe {recipe.name} noises masks of -1 and 1: "
            f"leave out sampling.mask_range, which is {sampling.mask_range}"
        )
    schedule = schedule_of(sampling)
    return partial(loss, config=recipe.objective, schedule=schedule)


def loss(
    network: nn.Module, batch: Batch, *, config: Settings, schedule: NoiseSchedule
) -> tuple[Tensor, Mapping[str, float]]:
    """Mean loss over pure-noise, noised-reference and recycled masks."""
    net = cast("CompactUNet", network)
    images = len(batch.image)
    pure = max(1, round(config.members * config.terminal))
    recycled = round(config.members * config.recycled)
    noised = max(0, config.members - pure - recycled)

    low = schedule.at(config.lowest) if config.lowest > 0 else 0
    features = net.encode(batch.image)
    reference = as_noisy_range(one_hot(batch.classes, net.classes))  # [B, K, *S]

    # 1. Pure noise and noised references go through the network together.
    first = pure + noised
    x0 = reference.repeat_interleave(first, 0)  # [B*first, K, *S]
    t = levels(low, schedule.timesteps, first, batch.sources).to(x0.device)
    t.view(images, first)[:, :pure] = schedule.timesteps - 1
    noisy = schedule.add_noise(x0, normal(x0, batch.sources), t)
    logits = net.denoise(noisy, t, features.expanded(first))
    classes, known = _repeated(batch, first)
    total = segmentation_loss(logits, classes, config, known)
    terms = {"first": float(total.detach())}

    # 2. Recycled: re-noise the answer that pure noise gave.
    if recycled:
        answer = logits.detach().view(images, first, *logits.shape[1:])[:, 0]
        own = as_noisy_range(answer.float().softmax(1)).repeat_interleave(recycled, 0)
        t = levels(low, schedule.timesteps, recycled, batch.sources).to(x0.device)
        noisy = schedule.add_noise(own, normal(own, batch.sources), t)
        logits = net.denoise(noisy, t, features.expanded(recycled))
        classes, known = _repeated(batch, recycled)
        again = segmentation_loss(logits, classes, config, known)
        terms["recycled"] = float(again.detach())
        total = (first * total + recycled * again) / (first + recycled)

    # 3. The image tower answers for itself.
    return with_image_tower(total, terms, features, batch.classes, config, batch.known)


def _repeated(batch: Batch, times: int) -> tuple[Tensor, Tensor | None]:
    """Classes of each image, and what is known of them, as often as it has masks."""
    known = batch.known
    return (
        batch.classes.repeat_interleave(times, 0),
        None if known is None else known.repeat_interleave(times, 0),
    )
