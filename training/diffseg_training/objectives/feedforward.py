"""An answer in one go: the same network, and nothing to denoise (E1).

The network is fed zeros or Gaussian noise in the noisy mask's place, at the last
timestep, in training and in use, so that what differs from the diffusion model is
diffusion alone.

The answer is read as logits, as in use. Where background is a channel, as of
compact_unet, their softmax is weighed; where a network has one channel for each class
but background, the sigmoid of each. Channels that would place a variance are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks.compact_unet import CompactUNet
from diffseg.networks.conditioned import Conditioned
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import (
    Calibrated,
    checked_conditioned,
    coded_mask,
    foreground_loss,
    normal,
    sample_errors,
    segmentation_loss,
    with_image_tower,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.feedforward import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network cannot be asked, or the recipe predicts something else than
        classes.
    """
    assert isinstance(recipe.objective, Settings)
    checked_conditioned(network, recipe)
    if recipe.sampling.prediction != "classes":
        raise UserError(
            f"objective feedforward of recipe {recipe.name} teaches logits: set "
            f"sampling.prediction to classes, not {recipe.sampling.prediction}"
        )
    given, kept = recipe.objective.input, recipe.sampling.input
    if given not in (None, kept):
        raise UserError(
            f"recipe {recipe.name}: objective.input is {given}, and the model's card "
            f"would say {kept}: set sampling.input={given}"
        )
    return partial(
        loss,
        config=recipe.objective,
        timestep=recipe.sampling.timesteps - 1,
        noise=kept == "noise",
    )


def loss(
    network: nn.Module, batch: Batch, *, config: Settings, timestep: int, noise: bool
) -> tuple[Tensor, Mapping[str, float]]:
    """Segmentation loss of the answer to the image alone."""
    net = cast("Conditioned", network)
    features, own = net.encode(batch.image), None
    shape = (len(batch.image), net.mask_channels, *batch.image.shape[2:])
    nothing = batch.image.new_zeros(shape)
    if noise:
        nothing = normal(nothing, batch.sources)
    t = batch.classes.new_full((len(batch.image),), timestep)
    if isinstance(net, Calibrated):
        answer, own = net.denoise_calibrated(nothing, t, features)
    else:
        answer = net.denoise(nothing, t, features)
    logits = answer[:, : net.mask_channels]
    background = config.background
    if background is None:
        background = isinstance(net, CompactUNet)
    if background:
        total = segmentation_loss(logits, batch.classes, config, batch.known)
    else:
        total = foreground_loss(logits, batch.classes, config, batch.known)
    terms: Mapping[str, float] = {"first": float(total.detach())}
    if own is not None and config.calibration:
        unit = coded_mask(batch.classes, net.mask_channels, (0.0, 1.0))
        mine = sample_errors(own, unit, "l2", batch.weights).mean()
        total = total + config.calibration * mine
        terms = {**terms, "calibration": float(mine.detach())}
    if isinstance(net, CompactUNet):
        total, terms = with_image_tower(
            total, terms, features, batch.classes, config, batch.known
        )
    return total, terms
