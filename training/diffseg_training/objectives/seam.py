"""SEAM: activation maps that follow their image when it is rescaled (Wang et al. 2020).

Two branches of one network see a slice and its smaller self. Beside the cross-entropy
of both (equation 1):

- Equivariance (ER, equation 2): the mean absolute difference of their activation maps,
  the first one's resized.
- Cross (ECR, equation 5): the refined maps of each branch against the other branch's
  own, of which only the strongest channel of each pixel is kept, on the hardest
  pixels. No gradient goes into what is compared with, nor through the refinement into
  the maps that are refined.
- Emptiness: the lowest quarter of the refined maps is to be 0, as the published code
  has it and the paper does not.

Maps are brought to 0..1 slice by slice, those of structures that are not present are
0, and background is 1 less the strongest structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.domain.slice_labels import PRESENT
from diffseg.errors import UserError
from diffseg.networks.seam import Seam
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.labels import (
    begin_with,
    classifier_scores,
    known_cross_entropy,
    labels_of,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.seam import Settings

_LEAST = 1e-5
_LOWEST = 4  # one pixel in so many is to be empty


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe, and give the network its first weights.

    Raises
    ------
    UserError
        The network is not SEAM's, or its first weights do not fit.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, Seam):
        raise UserError(
            f"objective seam of recipe {recipe.name} needs network seam, not "
            f"{recipe.network['name']}"
        )
    begin_with(network, config.weights)
    return Equivariant(config)


@dataclass(frozen=True, slots=True, eq=False)
class Equivariant:
    """The loss of one recipe."""

    config: Settings

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Cross-entropy of both branches, and what holds their maps together."""
        assert isinstance(network, Seam)
        labels, config = labels_of(batch, network), self.config
        present = (labels == PRESENT).float()[..., None, None]
        small = functional.interpolate(
            batch.image,
            scale_factor=config.scale,
            mode="bilinear",
            align_corners=True,
            recompute_scale_factor=True,
        )
        logits, maps, refined = _branch(network, batch.image, present)
        logits_2, maps_2, refined_2 = _branch(network, small, present)
        told = known_cross_entropy(logits, labels)
        told = (told + known_cross_entropy(logits_2, labels)) / 2
        maps, refined = _like(maps, maps_2), _like(refined, maps_2)
        terms = {
            "equivariance": config.equivariance * equivariance(maps, maps_2),
            "cross": config.cross
            * (
                cross(refined, maps_2, config.hardest)
                + cross(refined_2, maps, config.hardest)
            ),
            "emptiness": config.emptiness
            * (emptiness(refined * present) + emptiness(refined_2 * present))
            / 2,
        }
        total = told + torch.stack(list(terms.values())).sum()
        named = {"cross_entropy": told, **terms}
        return total, {name: float(one.detach()) for name, one in named.items()}

    def scores(
        self, network: nn.Module, examples: Sequence[Any], recipe: Recipe
    ) -> Mapping[str, float]:
        """AUROC and cross-entropy on held-out slices."""
        return classifier_scores(network, examples, recipe, self.config.chosen_by)


def equivariance(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of maps (B, K, y, x) of both branches, of one size."""
    return (_like(one, other) - other).abs().mean()


def cross(refined: Tensor, other: Tensor, hardest: float) -> Tensor:
    """Difference of refined maps from the strongest of the other branch's.

    Parameters
    ----------
    refined, other : (B, K, y, x) Tensors in 0..1
        Background is added to both; no gradient goes into `other`.
    hardest : float
        Share of all values of a slice that is taken, the largest.
    """
    wanted = strongest(with_background(other.detach()))
    off = (wanted - with_background(refined)).abs().flatten(1)
    count = max(1, int(hardest * off.shape[1]))
    return off.topk(count, dim=1).values.mean()


def emptiness(refined: Tensor) -> Tensor:
    """Mean of the lowest quarter of the strongest structure of each pixel."""
    highest = refined.amax(1).flatten(1)
    count = max(1, highest.shape[1] // _LOWEST)
    return highest.topk(count, dim=1, largest=False).values.relu().mean()


def with_background(maps: Tensor) -> Tensor:
    """Maps (B, K + 1, y, x): first 1 less the strongest, which is background."""
    return torch.cat([1 - maps.amax(1, keepdim=True), maps], 1)


def strongest(maps: Tensor) -> Tensor:
    """Maps of which each pixel keeps its strongest channel, and 0 in the others."""
    return torch.where(maps == maps.amax(1, keepdim=True), maps, 0.0)


def _branch(
    network: Seam, image: Tensor, present: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, maps in 0..1 of what is present, and these refined."""
    if min(image.shape[2:]) < network.backbone.least:
        raise UserError(
            f"the other branch of SEAM sees {min(image.shape[2:])} pixels, fewer than "
            f"the network's stride of {network.backbone.least}: raise objective.scale "
            "or patch"
        )
    stages = network.stages(image)
    raw = network.activations(stages)
    positive = functional.relu(raw)
    share = positive / (positive.amax((2, 3), keepdim=True) + _LEAST) * present
    refined = network.refined(share.detach(), image, stages)
    return raw.mean((2, 3)), share, refined


def _like(maps: Tensor, other: Tensor) -> Tensor:
    if maps.shape[2:] == other.shape[2:]:
        return maps
    return functional.interpolate(
        maps, other.shape[2:], mode="bilinear", align_corners=True
    )
