"""AME-CAM's aggregation of four exits' maps, by contrast between slices.

The aggregated map M of a slice with the structure is taken for a mask of its grey image
I: foreground ``I M`` and background ``I (1 - M)``, as vectors over pixels. With the
cosine similarity s of two of them (Chen et al. 2023, section 2.2):

- push: ``-log(1 - s)`` of every foreground and every background;
- pull: ``-log(s)`` of two foregrounds and of two backgrounds, times ``exp(-rank / 4)``,
  where rank counts the slices that are more alike.
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
from diffseg.networks.ame_cam import AmeCam, grey_of
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.labels import known_slices, labels_of
from diffseg_training.objectives.latent_parts import read_part
from diffseg_training.recipe import Recipe
from diffseg_training.settings.aggregation import Settings
from diffseg_training.state import check_keys

_SIMILAR = (5e-4, 0.9995)  # similarities are held within, for their logarithms


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe; the network is given its classifier, and that frozen.

    Raises
    ------
    UserError
        The network is not AME-CAM's, or the classifier is of another one.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, AmeCam):
        raise UserError(
            f"objective aggregation of recipe {recipe.name} needs network ame_cam, "
            f"not {recipe.network['name']}"
        )
    weights = dict(read_part(config.classifier).weights)
    check_keys(weights, network.state_dict(), f"classifier {config.classifier}")
    network.load_state_dict(weights)
    for part in (network.backbone, network.exits):
        part.requires_grad_(False)
    return Aggregation(config)


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """The loss of one recipe."""

    config: Settings

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Contrast between the slices of a batch in which a structure is present."""
        assert isinstance(network, AmeCam)
        labels = labels_of(batch, network)
        network.backbone.eval()  # it stays as it is, statistics and all
        with torch.no_grad():
            exits = network.exit_maps(network.stages(batch.image))
        total = between_slices(network, batch.image, exits, labels, self.config.rank)
        return total, {"contrast": float(total.detach())}

    @torch.no_grad()
    def scores(
        self, network: nn.Module, examples: Sequence[Any], recipe: Recipe
    ) -> Mapping[str, float]:
        """Minus the contrast between held-out slices, batch by batch."""
        device, found = next(network.parameters()).device, []
        for image, states in known_slices(examples, recipe):
            if bool(((states == PRESENT).sum(0) > 1).any()):
                shown, said = image.to(device), states.to(device)
                batch = Batch(shown, said[:, :0], [], labels=said)
                found.append(float(self(network, batch)[0]))
        mean = sum(found) / len(found) if found else float("nan")
        return {"loss": mean, "score": -mean}


def between_slices(
    network: AmeCam,
    image: Tensor,
    exits: Sequence[Tensor],
    labels: Tensor,
    rank: float,
) -> Tensor:
    """Contrast of each structure between the slices that have it, their mean.

    Parameters
    ----------
    image : (B, C, Y, X) Tensor
    exits : sequence of (B, K, Y_i, X_i) Tensors
        Activation maps; no gradient goes into them.
    labels : (B, K) int64 Tensor
    rank : float
        See `contrast`.
    """
    _, together = network.aggregated(image, [one.detach() for one in exits])
    grey = grey_of(image)[:, 0].flatten(1)
    total, count = together.sum() * 0, 0
    for index in range(network.classes):
        there = labels[:, index] == PRESENT
        if int(there.sum()) > 1:  # one slice has nothing to be compared with
            maps = together[there, index].flatten(1)
            total = total + contrast(grey[there], maps, rank)
            count += 1
    return total / max(1, count)


def contrast(grey: Tensor, maps: Tensor, rank: float) -> Tensor:
    """Push and pull of slices that all have the structure.

    Parameters
    ----------
    grey : (N, P) Tensor in 0..1
        Grey images, pixel by pixel.
    maps : (N, P) Tensor in 0..1
        Aggregated maps.
    rank : float
        How fast pairs that are less alike lose weight.
    """
    inside, outside = grey * maps, grey * (1 - maps)
    push = -torch.log(1 - similarity(outside, inside)).mean()
    return push + pull(inside, rank) + pull(outside, rank)


def pull(vectors: Tensor, rank: float) -> Tensor:
    """Mean of ``-log(s) exp(-rank r)``; r is -1 of a slice with itself, then 0, 1..."""
    alike = similarity(vectors, vectors)
    order = alike.detach().argsort(dim=1, descending=True).argsort(dim=1) - 1
    return (-torch.log(alike) * torch.exp(-rank * order)).mean()


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """Cosine similarities (N, M) of rows, held within what has a logarithm."""
    one, other = (functional.normalize(rows.float(), dim=1) for rows in (one, other))
    return (one @ other.T).clamp(*_SIMILAR)
