"""Scores that weights are chosen by during training: on val, and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import nn

from diffseg.diffusion import generator
from diffseg.domain import ModelCard
from diffseg.metrics import dice
from diffseg.networks import fast_layout
from diffseg.segmenters import Host
from diffseg.segmenters.base import load_method
from diffseg.segmenters.network import NetworkSegmenter
from diffseg_training.augment import example
from diffseg_training.evenly import evenly
from diffseg_training.known import UNREVIEWED
from diffseg_training.labelled import LabelledExample
from diffseg_training.machines import all_of, share_of
from diffseg_training.recipe import Recipe
from diffseg_training.recipe_parts import Length
from diffseg_training.sampling import VALIDATION_KEY
from diffseg_training.step import Step
from diffseg_training.training_set import AnyExample

Shown = AnyExample | LabelledExample
_LOOKS = 4  # noises and places at which the loss of a held-out case is taken


def chosen_cases(
    examples: Sequence[AnyExample], length: Length
) -> Sequence[AnyExample]:
    """At most ``length.validation_cases`` of the examples, evenly over them."""
    return evenly(examples, length.validation_cases)


def check_network(network: nn.Module, card: ModelCard, device: str) -> None:
    """Refuse a network that the card's method cannot use, before it is trained.

    Raises
    ------
    UserError
        It does not fit the card.
    """
    segmenter = load_method(card.method)(card, network, Host(device, 1))
    if isinstance(segmenter, NetworkSegmenter):  # others check what they load
        segmenter.source()


def dice_scores(
    network: nn.Module,
    card: ModelCard,
    examples: Sequence[AnyExample],
    length: Length,
    device: str,
) -> Mapping[str, float]:
    """Mean Dice of each structure on the prepared grid, and their mean as `score`.

    Each process draws for its share of the examples; all come to the same scores.
    """
    segmenter = load_method(card.method)(card, network, Host(device, 1))
    names = card.labels.names
    per_case: list[tuple[int, list[float]]] = []
    for number in share_of(len(examples)):
        one = examples[number]
        drawn = segmenter.draw(
            one.image.numpy(),
            members=length.validation_members,
            steps=length.validation_steps or card.sampling.steps,
            seed=0,
        )
        mean = np.mean([np.asarray(member) for member in drawn], axis=0)
        reference = one.classes.numpy()
        known = reference < UNREVIEWED
        answer, reference = mean.argmax(0)[known], reference[known]
        indices = range(1, len(names) + 1)
        scored = [dice(answer, reference, index) for index in indices]
        per_case.append((number, scored))
    means = np.mean([scored for _, scored in sorted(all_of(per_case))], axis=0)
    scores = dict(zip(names, map(float, means), strict=True))
    return {**scores, "score": float(means.mean())}


@torch.no_grad()
def loss_scores(
    step: Step,
    recipe: Recipe,
    examples: Sequence[Shown],
    accelerator: Accelerator,
) -> Mapping[str, float]:
    """Mean loss over held-out examples, always at the same noise; `score` is -loss."""
    found: list[tuple[int, float]] = []
    for number in share_of(len(examples) * _LOOKS):
        one = examples[number // _LOOKS]
        source = generator(recipe.seed, VALIDATION_KEY, number)
        labels = None
        if isinstance(one, LabelledExample):
            image, states = one.looked_at(source, recipe.patch)
            classes = states[:0]
            labels = states[None].to(accelerator.device)
        else:
            image, classes = example(*one.arrays(source), recipe.patch, None, source)
        image = image[None].to(
            accelerator.device, memory_format=fast_layout(len(recipe.patch))
        )
        classes = classes[None].to(accelerator.device)
        loss, _ = step(image, classes, [source], None, labels)
        found.append((number, float(loss)))
    mean = float(np.mean([loss for _, loss in sorted(all_of(found))]))
    return {"loss": mean, "score": -mean}
