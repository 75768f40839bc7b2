"""An autoencoder of pictures alone, on which a text-to-image model stands.

As the objective `autoencoder` does it, but without masks: those of several sets have
more classes than a picture has channels, and nothing is to be drawn of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks.kl_autoencoder import KLAutoencoder
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.autoencoder import coloured_image, divergence
from diffseg_training.objectives.terms import normal
from diffseg_training.recipe import Recipe
from diffseg_training.settings.picture_autoencoder import Settings
from diffseg_training.synchronised import deviation_over_processes


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network is no autoencoder of three channels.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, KLAutoencoder) or network.image_channels != 3:
        raise UserError(
            f"objective picture_autoencoder of recipe {recipe.name} needs network "
            f"kl_autoencoder with 3 image_channels, not {recipe.network['name']}"
        )
    return PictureReconstruction(config)


@dataclass(frozen=True, slots=True)
class PictureReconstruction:
    """The loss of one recipe."""

    config: Settings

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Absolute error of the pictures, and what holds the latent."""
        assert isinstance(network, KLAutoencoder)
        config, image = self.config, coloured_image(batch.image)
        mean, log_variance = network.moments(image)
        noise = normal(mean, batch.sources)
        back = network.decode(mean + torch.exp(0.5 * log_variance) * noise).float()
        off = deviation_over_processes(mean) / config.deviation - 1
        terms = {
            "image": functional.l1_loss(back, image),
            "kl": config.kl * divergence(mean, log_variance) / image[0].numel(),
            "holding": config.holding * off**2,
        }
        total = torch.stack([*terms.values()]).sum()
        return total, {name: float(one.detach()) for name, one in terms.items()}
