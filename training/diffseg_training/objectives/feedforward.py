"""The feed-forward twin: the same network and loss, and nothing to denoise.

The member tower is fed zeros at the last timestep, in training and in use, so that
what differs from the diffusion model is diffusion alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from torch import Tensor, nn

from diffseg.networks.compact_unet import CompactUNet
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import segmentation_loss, with_image_tower
from diffseg_training.recipe import Recipe
from diffseg_training.settings.feedforward import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe."""
    assert isinstance(recipe.objective, Settings)
    last = recipe.sampling.timesteps - 1
    return partial(loss, config=recipe.objective, timestep=last)


def loss(
    network: nn.Module, batch: Batch, *, config: Settings, timestep: int
) -> tuple[Tensor, Mapping[str, float]]:
    """Segmentation loss of the answer to the image alone."""
    net = cast("CompactUNet", network)
    features = net.encode(batch.image)
    shape = (len(batch.image), net.classes, *batch.image.shape[2:])
    nothing = batch.image.new_zeros(shape)
    t = batch.classes.new_full((len(batch.image),), timestep)
    total = segmentation_loss(net.denoise(nothing, t, features), batch.classes, config)
    terms = {"first": float(total.detach())}
    return with_image_tower(total, terms, features, batch.classes, config)
