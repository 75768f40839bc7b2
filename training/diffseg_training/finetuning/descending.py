"""A run's network learns from its materials, and is scored on what is held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from diffseg.progress import Work
from diffseg_training.finetuning.begun import AnyJob, Begun
from diffseg_training.sitting import TrainingResult
from diffseg_training.trainer import iter_train
from diffseg_training.training_set import AnyExample, prepare_examples
from diffseg_training.validation import check_network, chosen_cases, dice_scores

Base = Callable[[list[AnyExample], float], Work[list[AnyExample]]]
"""Adds examples to those of a run, within so many bytes of memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A network that has learnt, and how others are scored beside it.

    Parameters
    ----------
    result : TrainingResult
    scores : callable
        A network's Dice on the held-out cases, by class and as ``score``.
    """

    result: TrainingResult
    scores: Callable[[nn.Module], Mapping[str, float]]


def iter_learnt(
    begun: Begun[AnyJob], device: str, base: Base | None = None
) -> Work[Learnt]:
    """Train a run's network, going on from its last state if there is one.

    Parameters
    ----------
    base : callable, optional
        Mixes other examples in.

    Raises
    ------
    UserError
        As `diffseg_training.trainer.iter_train` has it.
    """
    recipe, folder, card = begun.recipe, begun.folder, begun.card
    dataset = begun.materials.dataset
    cache, memory = folder / "cache", recipe.loading.memory_gb * 1e9
    found: list[list[AnyExample]] = []
    for split in ("train", "val"):
        examples = yield from prepare_examples(
            dataset.split(split),
            dataset,
            recipe.preparation,
            cache=cache,
            memory=memory,
        )
        memory -= sum(one.bytes_held for one in examples)
        found.append(examples)
    learners, judges = found
    if base is not None:
        learners = yield from base(learners, memory)
    held_out = chosen_cases(judges, recipe.length)

    def validate(network: nn.Module) -> Mapping[str, float]:
        return dice_scores(network, card, held_out, recipe.length, device)

    def check(network: nn.Module) -> None:
        check_network(network, card, device)

    result = yield from iter_train(
        recipe,
        learners,
        validate,
        folder,
        device=device,
        resume=(folder / "state" / "state.json").is_file(),
        held_out=held_out,
        check=check,
    )
    return Learnt(result, validate)
