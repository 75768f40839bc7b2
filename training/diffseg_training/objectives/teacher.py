"""A small vision transformer that learns from images alone, to be a teacher.

Patches of the image are hidden, and their pixels are told from the others: masked image
modelling as in SimMIM (Xie et al. 2022: one linear layer tells them), of pixels
normalised patch by patch as in MAE (He et al. 2022). It needs no labels, no second
network and no other data. Its tokens know the texture around them and their place; they
are not the semantic ones of a transformer that saw millions of images, such as DINOv2,
and do not replace it: they let everything run without any download.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg.networks.vision_transformer import PatchTokens
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.autoencoder import coloured_image
from diffseg_training.recipe import Recipe
from diffseg_training.settings.teacher import Settings

_LEAST_VARIANCE = 1e-4  # of a patch's pixels; below, there is nothing to tell


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network is no vision transformer.
    """
    if not isinstance(network, PatchTokens):
        raise UserError(
            f"objective teacher of recipe {recipe.name} needs network "
            f"vision_transformer, not {recipe.network['name']}"
        )
    assert isinstance(recipe.objective, Settings)
    return HiddenPatches(recipe.objective, network)


class HiddenPatches(nn.Module):
    """The loss of one recipe; the hidden patches' stand-in and the telling are its own.

    Parameters
    ----------
    config : Settings
    network : PatchTokens
        Whose sizes are read.
    """

    def __init__(self, config: Settings, network: PatchTokens) -> None:
        super().__init__()
        self.config = config
        self.hidden = nn.Parameter(torch.zeros(network.width))
        nn.init.trunc_normal_(self.hidden, std=0.02)
        self.telling = nn.Linear(network.width, 3 * network.patch**2)

    def forward(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean squared error of the hidden patches' normalised pixels."""
        assert isinstance(network, PatchTokens)
        error = self._errors(network, batch.image, batch.sources).mean()
        return error, {"hidden": float(error.detach())}

    @torch.no_grad()
    def validation(self, network: nn.Module, batch: Batch) -> Mapping[str, float]:
        """Score: the share of the hidden pixels' variance that is told.

        The same patches are hidden every time.
        """
        assert isinstance(network, PatchTokens)
        sources = [generator(0, index) for index in range(len(batch.image))]
        error = float(self._errors(network, batch.image, sources).mean())
        return {"score": 1 - error}

    def _errors(
        self, network: PatchTokens, image: Tensor, sources: Sequence[torch.Generator]
    ) -> Tensor:
        """Mean squared error of each image's hidden patches, (B,)."""
        image = shown(image, network)
        wanted = normalised_patches(image, network.patch)
        away = hidden_patches(wanted.shape[1], self.config.masked, sources)
        away = away.to(image.device)
        patches = network.embedded(image)
        patches = torch.where(away[..., None], self.hidden.to(patches.dtype), patches)
        told = self.telling(network.transformed(patches)).float()
        errors = ((told - wanted) ** 2).mean(2)
        mean: Tensor = (errors * away).sum(1) / away.sum(1)
        return mean


def shown(image: Tensor, network: PatchTokens) -> Tensor:
    """Images (B, C, Y, X) in three channels and of the transformer's size."""
    image, (rows, columns) = coloured_image(image), network.grid
    size = (rows * network.patch, columns * network.patch)
    if tuple(image.shape[2:]) == size:
        return image
    return functional.interpolate(image, size, mode="bicubic")


def normalised_patches(image: Tensor, patch: int) -> Tensor:
    """Pixels of each patch, less their mean and over their standard deviation.

    Parameters
    ----------
    image : (B, C, Y, X) Tensor
    patch : int

    Returns
    -------
    (B, N, C * patch * patch) float32 Tensor, patches row by row
    """
    pixels = functional.unfold(image.float(), patch, stride=patch).transpose(1, 2)
    variance, mean = torch.var_mean(pixels, dim=2, keepdim=True, correction=0)
    return (pixels - mean) / (variance + _LEAST_VARIANCE).sqrt()


def hidden_patches(
    count: int, share: float, sources: Sequence[torch.Generator]
) -> Tensor:
    """Which patches of each image are hidden, (B, count) bool; as many of each."""
    most = min(max(1, round(share * count)), count - 1)
    orders = [torch.randperm(count, generator=source) for source in sources]
    return torch.stack(orders) < most
