"""The autoencoder that latent networks stand on, trained on masks and images.

Masks as images of three channels in [-1, 1], and images, come back from a latent drawn
from the encoder's normal distribution (Kingma and Welling 2014), whose divergence from
the standard one weighs as little as in latent diffusion (Rombach et al. 2022). Unlike
there, there is neither an adversarial nor a perceptual term: masks have sharp edges
without them, and images come back blurred, which segmentation does not mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks.kl_autoencoder import KLAutoencoder
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import normal, one_hot
from diffseg_training.recipe import Recipe
from diffseg_training.settings.autoencoder import Settings
from diffseg_training.synchronised import deviation_over_processes

_COLOURS = 3
# Within this distance of 0 and 1 the cross-entropy has no gradient left to explode.
_MARGIN = 0.01


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network is no autoencoder of three channels.
    """
    if not isinstance(network, KLAutoencoder) or network.image_channels != _COLOURS:
        raise UserError(
            f"objective autoencoder of recipe {recipe.name} needs network "
            f"kl_autoencoder with {_COLOURS} image_channels, not "
            f"{recipe.network['name']}"
        )
    assert isinstance(recipe.objective, Settings)
    return Reconstruction(recipe.objective)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The loss of one recipe, and what its weights are chosen by."""

    config: Settings

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Errors of what comes back, and what holds the latent."""
        assert isinstance(network, KLAutoencoder)
        config = self.config
        masks = coloured_mask(batch.classes, config.classes)
        if config.mixed and torch.is_grad_enabled():
            masks = mixed(masks, config.mixed, batch.sources)
        images = coloured_image(batch.image)
        mean, log_variance = network.moments(torch.cat([masks, images]))
        noise = torch.cat([normal(half, batch.sources) for half in mean.chunk(2)])
        back = network.decode(mean + torch.exp(0.5 * log_variance) * noise).float()
        mask, image = back.chunk(2)

        share = ((mask + 1) / 2).clamp(_MARGIN, 1 - _MARGIN)
        terms = {
            "mask": config.mask * functional.mse_loss(mask, masks),
            "cross_entropy": config.cross_entropy
            * functional.binary_cross_entropy(share, (masks + 1) / 2),
            "image": config.image * functional.l1_loss(image, images),
            "kl": config.kl * divergence(mean, log_variance) / masks[0].numel(),
            "holding": config.holding * distance(mean, config.deviation),
        }
        total = torch.stack([*terms.values()]).sum()
        return total, {name: float(one.detach()) for name, one in terms.items()}

    @torch.no_grad()
    def validation(self, network: nn.Module, batch: Batch) -> Mapping[str, float]:
        """Score of what comes back from the mode: the masks' mean Dice.

        Returns
        -------
        dict
            score (to be maximised), image (mean absolute error), and deviation (of the
            masks' latents).
        """
        assert isinstance(network, KLAutoencoder)
        masks = coloured_mask(batch.classes, self.config.classes)
        images = coloured_image(batch.image)
        latent = network.encode(masks)
        found, there = network.decode(latent) > 0, masks > 0
        axes = (1, 2, 3)
        size = (found.sum(axes) + there.sum(axes)).float()
        # Nothing there and nothing found is right.
        dice = torch.where(size > 0, 2 * (found & there).sum(axes) / size, 1.0)
        return {
            "score": float(dice.mean()),
            "image": float((network(images) - images).abs().mean()),
            "deviation": float(latent.std()),
        }


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a standard normal, summed; mean over samples."""
    mean, log_variance = mean.float(), log_variance.float()
    each = mean**2 + log_variance.exp() - 1 - log_variance
    return 0.5 * each.flatten(1).sum(1).mean()


def distance(mean: Tensor, deviation: float) -> Tensor:
    """Squared relative distance of the latents' deviations from the wanted one.

    Those of masks and of images, the first and the second half of the batch, are held
    apart, each over the whole batch, however it is spread over processes.
    """
    found = torch.stack([deviation_over_processes(half) for half in mean.chunk(2)])
    return ((found / deviation - 1) ** 2).sum()


def coloured_mask(classes: Tensor, count: int) -> Tensor:
    """Class indices (B, Y, X) as an image (B, 3, Y, X) of -1 and 1.

    As latent networks see masks: one foreground class in all three channels, several in
    a channel each.

    Raises
    ------
    UserError
        The masks hold more than `count` foreground classes.
    """
    highest = int(classes.max())
    if highest > count:
        raise UserError(
            f"masks hold class {highest}, the objective is of {count} foreground "
            "classes: set objective.classes to their number"
        )
    mask = one_hot(classes, count + 1)[:, 1:]
    if count == 1:
        mask = mask.repeat(1, _COLOURS, 1, 1)
    missing = _COLOURS - mask.shape[1]
    return 2 * functional.pad(mask, (0, 0, 0, 0, 0, missing)) - 1


def mixed(masks: Tensor, share: float, sources: Sequence[torch.Generator]) -> Tensor:
    """Masks (B, 3, Y, X) of which a share shows, in each channel, a flip or nothing."""
    done = []
    for mask, source in zip(masks, sources, strict=True):
        if float(torch.rand((), generator=source)) >= share:
            done.append(mask)
            continue
        ways = torch.randint(0, 5, (_COLOURS,), generator=source).tolist()
        flips: list[list[int]] = [[], [0], [1], [0, 1]]
        channels = [
            channel.flip(flips[way]) if way < len(flips) else -torch.ones_like(channel)
            for channel, way in zip(mask, ways, strict=True)
        ]
        done.append(torch.stack(channels))
    return torch.stack(done)


def coloured_image(image: Tensor) -> Tensor:
    """Images (B, C, Y, X) in three channels; other than three are averaged."""
    if image.shape[1] == _COLOURS:
        return image
    return image.mean(1, keepdim=True).repeat(1, _COLOURS, 1, 1)
