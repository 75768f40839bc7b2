"""Learning what is present in a slice, from image-level labels.

Each structure is present or absent by itself: binary cross-entropy of each, from which
what is unknown is left out. A network with an exit after each stage (AME-CAM) is
taught at each of them, the later the more; the aggregation of their maps can be learnt
along, from maps into which no gradient goes, instead of in a run of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks.ame_cam import EXITS, AmeCam
from diffseg.networks.stages import Staged
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.aggregation import between_slices
from diffseg_training.objectives.labels import (
    begin_with,
    classifier_scores,
    known_cross_entropy,
    labels_of,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.classification import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe, and give the network its first weights.

    Raises
    ------
    UserError
        The network is no classifier of slices, or its first weights do not fit.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, Staged):
        raise UserError(
            f"objective classification of recipe {recipe.name} needs network "
            "slice_classifier, local_classifier or ame_cam, not "
            f"{recipe.network['name']}"
        )
    if len(config.exits) != EXITS:
        raise UserError(f"objective.exits: give {EXITS} weights, one for each stage")
    begin_with(network, config.weights)
    return Classification(config)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The loss of one recipe."""

    config: Settings

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean cross-entropy of what is known of the slices."""
        labels = labels_of(batch, network)
        if not isinstance(network, AmeCam):
            total = known_cross_entropy(network(batch.image), labels)
            return total, {"cross_entropy": float(total.detach())}
        exits = network.exit_maps(network.stages(batch.image))
        each = [known_cross_entropy(one.mean((2, 3)), labels) for one in exits]
        total = sum(
            (w * one for w, one in zip(self.config.exits, each, strict=True)),
            start=each[0].new_zeros(()),
        )
        terms = {f"exit_{i}": float(one.detach()) for i, one in enumerate(each, 1)}
        if self.config.contrast:
            pair = between_slices(network, batch.image, exits, labels, self.config.rank)
            total = total + self.config.contrast * pair
            terms["contrast"] = float(pair.detach())
        return total, terms

    def scores(
        self, network: nn.Module, examples: Sequence[Any], recipe: Recipe
    ) -> Mapping[str, float]:
        """AUROC and cross-entropy on held-out slices; of the last exit, of several."""
        return classifier_scores(network, examples, recipe, self.config.chosen_by)
