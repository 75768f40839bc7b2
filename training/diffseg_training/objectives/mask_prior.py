"""Recovering a mask from its noisy self, without the image (E3).

Squared error of the clean mask, which the network predicts itself. Of the image
nothing is shown: zeros stand in its place, for EnsemDiff as channels, for SegDiff
and MedSegDiff as what their image encoder is fed, so that the network is the same as
with an image. Its variance and the condition network's own mask are not taught.

What this network knows of masks, against the noise level, is the fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule, schedule_of
from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import (
    checked_conditioned,
    coded_mask,
    drawn_timesteps,
    normal,
    predicted,
    sample_errors,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.mask_prior import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network does not denoise masks, or the recipe does not predict x0.
    """
    config, sampling = recipe.objective, recipe.sampling
    assert isinstance(config, Settings)
    checked_conditioned(network, recipe)
    if predicted(recipe) != "x0":
        raise UserError(
            f"objective mask_prior of recipe {recipe.name} predicts the mask itself: "
            "set sampling.prediction to x0"
        )
    schedule = schedule_of(sampling)
    return MaskPrior(config.loss, schedule, sampling.mask_range)


def without_image(
    network: Conditioned, noisy: Tensor, t: Tensor, image: Tensor
) -> Tensor:
    """The network's answer (B, M, *S) to a noisy mask and a black image's zeros."""
    answer = network.denoise(noisy, t, network.encode(torch.zeros_like(image)))
    return answer[:, : network.mask_channels].float()


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrior:
    """The loss of one recipe."""

    norm: Literal["l1", "l2"]
    schedule: NoiseSchedule
    mask_range: tuple[float, float]

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean error of the recovered masks, each at a timestep of its own."""
        t = drawn_timesteps(None, self.schedule.timesteps, batch.sources)
        total = self.errors(network, batch, t).mean()
        return total, {"mask": float(total.detach())}

    def errors(self, network: nn.Module, batch: Batch, t: Tensor) -> Tensor:
        """Error of each sample's mask at timesteps (B,): (B,)."""
        net = cast("Conditioned", network)
        x0 = coded_mask(batch.classes, net.mask_channels, self.mask_range)
        t = t.to(x0.device)
        noisy = self.schedule.add_noise(x0, normal(x0, batch.sources), t)
        return sample_errors(without_image(net, noisy, t, batch.image), x0, self.norm)
