"""DiCLIP's single stage: head and adapter learn from masks of words and cache.

Equations 14 and 15; the masks are those of the static maps, as in the paper, or of the
adapter's own as it learns, as in the released code. Image-level labels say which
classes an image shows. Where examples bring what a person drew, as those of a project
do, it takes the mask's place; a data set's bring none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffseg.domain.diclip import diclip_config
from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.models import find_model
from diffseg.networks.diclip import DiclipLearner
from diffseg.networks.diclip_head import HeadAnswer, predicted_affinity
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.cache_files import CACHE, load_cache
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.segmenters.text.loading import backbone_identities
from diffseg.segmenters.text.retrieval import memory_of
from diffseg_training.known import parted
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.labels import auroc, labels_of
from diffseg_training.recipe import Recipe
from diffseg_training.settings.diclip import Settings
from diffseg_training.text.drawn import Overlap, drawn_of, laid_over
from diffseg_training.text.losses import (
    LossWeights,
    adapter_loss,
    affinity_loss,
    affinity_targets,
    classes_on_grid,
    segmentation_loss,
    summed,
)
from diffseg_training.text.teaching import PseudoTeacher, Taught
from diffseg_training.weak.held_out import batches


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe; the adapter is given the model's cache.

    Where the recipe names a start, the adapter keeps the weights that it has of it.

    Raises
    ------
    UserError
        The network is another one, or there is no model with a cache to begin with.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, DiclipLearner):
        raise UserError(
            f"objective diclip of recipe {recipe.name} needs network diclip, not "
            f"{recipe.network['name']}"
        )
    if config.model is None:
        raise UserError(
            f"recipe {recipe.name} names no model to begin with; diffseg train makes "
            "one of objective.clip"
        )
    folder = find_model(config.model)
    found = diclip_config(folder.card.network, f"model {folder.name}")
    if not found.cache:
        raise UserError(
            f"model {config.model} has no cache that an adapter could begin with: "
            "build one with diffseg models cache"
        )
    cache = load_cache(
        folder.path / CACHE,
        backbones=backbone_identities(found),
        names=folder.card.labels.names,
    )
    memory = memory_of(cache)
    weighted = config.adapter.values == "weighted"
    spoken = memory.values if weighted else torch.tensor(cache.one_hot)
    try:
        if recipe.start is None:
            network.adapter.begin_with(memory.keys, spoken)
    except ValueError as err:
        raise UserError(f"recipe {recipe.name}: network.adapter: {err}") from None
    return PseudoLearning(config, recipe.seed)


class PseudoLearning:
    """The loss of one recipe, with the frozen model that teaches.

    Parameters
    ----------
    config : Settings
    seed : int
    """

    def __init__(self, config: Settings, seed: int) -> None:
        self.config, self._seed = config, seed
        self._models: dict[str, Diclip] = {}
        self._teachers: dict[str, PseudoTeacher] = {}

    def model(self, device: str) -> Diclip:
        """The model that teaches, on a device."""
        if device not in self._models:
            assert self.config.model is not None
            folder = find_model(self.config.model)
            self._models[device] = Diclip.from_model(folder, device)
        return self._models[device]

    def _teacher(self, device: str) -> PseudoTeacher:
        if device not in self._teachers:
            model = self.model(device)
            store = model.store
            if self.config.features is not None:
                limit = int(self.config.features_mb * 1e6)
                store = FeatureStore(Path(self.config.features), limit)
            self._teachers[device] = PseudoTeacher(
                model, store, band=self.config.band, seed=self._seed
            )
        return self._teachers[device]

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """The weighed sum of what head and adapter miss of the pseudo masks."""
        assert isinstance(network, DiclipLearner)
        labels = labels_of(batch, network)
        logits, answer, classes, grid = self._answered(network, batch.image, labels)
        classes = laid_over(classes, drawn_of(batch.classes, batch.known))
        config = self.config
        parts = {
            "segmentation": segmentation_loss(
                answer.logits, classes, balanced=config.balanced
            ),
            "adapter": adapter_loss(logits, classes, grid, balanced=config.balanced),
        }
        if config.affinity:
            wanted = affinity_targets(classes_on_grid(classes, grid), config.radius)
            parts["affinity"] = affinity_loss(predicted_affinity(answer.fused), wanted)
        weights = LossWeights(config.segmentation, config.adaptation, config.affinity)
        return summed(parts, weights)

    def _answered(
        self, network: DiclipLearner, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, HeadAnswer, Tensor, tuple[int, int]]:
        """Both networks' answers to a batch, its pseudo masks (B, Y, X), its grid."""
        teacher = self._teacher(images.device.type)
        dynamic = self.config.pseudo == "dynamic"
        found: list[Taught] = [
            teacher.taught(image, states, network.adapter if dynamic else None)
            for image, states in zip(images, labels, strict=True)
        ]
        raw = [
            torch.cat(layer) for layer in zip(*(one.raw for one in found), strict=True)
        ]
        patches = torch.cat([one.patches for one in found])
        tokens = torch.cat([one.class_token for one in found])
        logits, answer = network(patches, tokens, raw, found[0].grid)
        classes = torch.stack([one.classes for one in found])
        return logits, answer, classes, found[0].grid

    @torch.no_grad()
    def scores(
        self, network: nn.Module, examples: Sequence[Any], recipe: Recipe
    ) -> Mapping[str, float]:
        """How far the head is from the pseudo masks of val, by labels alone.

        `loss` is the cross-entropy, `score` its negative; of each class of which val
        has slices with and without it, the chance that the head's highest probability
        is higher where it is present. Where val brings what persons drew, `score` is
        the head's mean Dice on it, and Dice is told of each class.
        """
        assert isinstance(network, DiclipLearner)
        device = next(network.parameters()).device
        losses, counts, highest, known = [], [], [], []
        overlap = Overlap(examples[0].labels.names)
        for shown in batches(examples, recipe, device):
            _, answer, classes, _ = self._answered(network, shown.image, shown.states)
            if shown.classes is not None:
                drawn = drawn_of(*parted(shown.classes))
                assert drawn is not None
                classes = laid_over(classes, drawn)
                overlap.add(answer.logits, drawn)
            one = segmentation_loss(
                answer.logits, classes, balanced=self.config.balanced
            )
            losses.append(float(one))
            counts.append(len(classes))
            shares = answer.logits.float().softmax(1)[:, 1:]
            highest.append(shares.flatten(2).amax(2).cpu())
            known.append(shown.states.cpu())
        loss = float(np.average(losses, weights=counts)) if losses else float("nan")
        found = {"loss": loss, "score": -loss}
        if losses:
            told, said = torch.cat(highest), torch.cat(known)
            for index, name in enumerate(examples[0].labels.names):
                there = said[:, index] != UNKNOWN
                positive = (said[there, index] == PRESENT).numpy()
                area = auroc(told[there, index].numpy(), positive)
                if area is not None:
                    found[f"{name}_auroc"] = area
        return {**found, **overlap.scores()}
