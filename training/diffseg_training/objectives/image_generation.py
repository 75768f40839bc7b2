"""Unconditional generation of the images themselves (E4).

The same architecture with the image in the place of the mask: as many channels of
the noisy mask as the image has, and zeros where the image was. The prediction is
taught, eps in the analysis paper; a variance is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule, Prediction, schedule_of, target
from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.mask_prior import without_image
from diffseg_training.objectives.terms import (
    checked_conditioned,
    drawn_timesteps,
    normal,
    predicted,
    sample_errors,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.image_generation import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network does not denoise, or the recipe predicts classes.
    """
    config, sampling = recipe.objective, recipe.sampling
    assert isinstance(config, Settings)
    checked_conditioned(network, recipe)
    schedule = schedule_of(sampling)
    return ImageGeneration(config.loss, schedule, predicted(recipe))


@dataclass(frozen=True, slots=True, eq=False)
class ImageGeneration:
    """The loss of one recipe."""

    norm: Literal["l1", "l2"]
    schedule: NoiseSchedule
    kind: Prediction

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean error of the prediction, of each image at a timestep of its own."""
        t = drawn_timesteps(None, self.schedule.timesteps, batch.sources)
        total = self.errors(network, batch, t).mean()
        return total, {"prediction": float(total.detach())}

    def errors(self, network: nn.Module, batch: Batch, t: Tensor) -> Tensor:
        """Error of each sample's prediction at timesteps (B,): (B,).

        Raises
        ------
        UserError
            The network has other channels than the images.
        """
        net, x0 = cast("Conditioned", network), batch.image
        if net.mask_channels != x0.shape[1]:
            raise UserError(
                f"images have {x0.shape[1]} channels and the network generates "
                f"{net.mask_channels}: set network.mask_channels={x0.shape[1]}"
            )
        t, noise = t.to(x0.device), normal(x0, batch.sources)
        noisy = self.schedule.add_noise(x0, noise, t)
        answer = without_image(net, noisy, t, x0)
        wanted = target(self.kind, x0, noise, t, self.schedule)
        return sample_errors(answer, wanted, self.norm)
