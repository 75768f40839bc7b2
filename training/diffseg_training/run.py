"""A training run from end to end: read, prepare, train, choose on val, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffseg.domain import Label, LabelTable, ModelCard
from diffseg.models import save_model
from diffseg.progress import Work
from diffseg.segmenters import resolve_device
from diffseg_training.curve import draw_curve
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.labelled_splits import labelled_splits
from diffseg_training.lock import alone_in
from diffseg_training.machines import (
    end_processes,
    is_first,
    make_accelerator,
    wait_for_first,
)
from diffseg_training.parts import save_part
from diffseg_training.recipe import Recipe, load_recipe
from diffseg_training.run_folder import check_begun, make_folder
from diffseg_training.trainer import TrainingResult, iter_train
from diffseg_training.training_set import AnyExample, prepare_examples
from diffseg_training.validation import check_network, chosen_cases, dice_scores


def train_model(
    name: str,
    data: str,
    out: Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    device: str | None = None,
) -> Work[dict[str, Any]]:
    """Train by a recipe; write ``out/model`` (card and weights), log and curve.

    A recipe whose product is a part, or a folder in a public format, writes
    ``out/part`` or ``out/folder`` instead. Under
    `accelerate launch` every process calls this, and the first one writes.

    Returns
    -------
    dict
        model (or part, or folder), steps, minutes, skipped (steps whose gradient
        was not finite), best (scores on val), images_per_second, waiting (the share
        of the time that steps waited for examples), stopped (whether for want of a
        gain), curve.

    Raises
    ------
    UserError
        The recipe, the data or the folder cannot be used.
    """
    recipe = load_recipe(name, overrides)
    where = resolve_device(device or "auto")
    if recipe.objective.chained:
        from diffseg_training.weak.run import train_chain

        return (yield from train_chain(recipe, data, out, resume, where))
    if recipe.objective.assembled:
        from diffseg_training.text.run import train_assembled

        return (yield from train_assembled(recipe, data, out, resume, where))
    labels_alone = recipe.objective.learns_labels and recipe.labels.source != "mask"
    dataset = load_dataset(data, masks=not labels_alone)
    dataset.for_training()  # refused before anything is made
    recipe.objective.check_classes(dataset.labels.names)
    make_accelerator(recipe, where, out)
    if is_first():
        _open_folder(out, resume)
    with alone_in(out) if is_first() else nullcontext():
        result = yield from _train(recipe, dataset, out, resume, where)
        if is_first():
            told = _written(recipe, dataset, out, result)
        else:
            told = {"steps": result.steps}
        wait_for_first()
    end_processes()
    return told


def _train(
    recipe: Recipe, dataset: Dataset, out: Path, resume: bool, device: str
) -> Work[TrainingResult]:
    if recipe.objective.learns_labels:
        return (yield from _train_by_labels(recipe, dataset, out, resume, device))
    train, val = yield from _examples(recipe, dataset, out)
    held_out = chosen_cases(val, recipe.length)
    card = draft_card(recipe, dataset.labels)

    def validate(network: nn.Module) -> Mapping[str, float]:
        return dice_scores(network, card, held_out, recipe.length, device)

    def check(network: nn.Module) -> None:
        check_network(network, card, device)

    drawn = recipe.product == "model"
    return (
        yield from iter_train(
            recipe,
            train,
            validate if drawn else None,
            out,
            device=device,
            resume=resume,
            held_out=held_out,
            check=check if drawn else None,
        )
    )


def _train_by_labels(
    recipe: Recipe, dataset: Dataset, out: Path, resume: bool, device: str
) -> Work[TrainingResult]:
    """Train on image-level labels; weights are chosen by the loss's own scores."""
    if not is_first():
        wait_for_first()
    train, held_out = yield from labelled_splits(recipe, dataset, out / "cache")
    if is_first():
        wait_for_first()
    return (
        yield from iter_train(
            recipe, train, None, out, device=device, resume=resume, held_out=held_out
        )
    )


def _examples(
    recipe: Recipe, dataset: Dataset, out: Path
) -> Work[tuple[list[AnyExample], list[AnyExample]]]:
    """Prepared cases of train and val; the first process fills the cache."""
    if not is_first():
        wait_for_first()
    memory, cache = recipe.loading.memory_gb * 1e9, out / "cache"
    found = []
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
    if is_first():
        wait_for_first()
    return found[0], found[1]


def _open_folder(out: Path, resume: bool) -> None:
    if not resume:  # else its state says whether there is a run
        check_begun(out, (out / "log.jsonl").exists(), resume)
    make_folder(out)


def _written(
    recipe: Recipe, dataset: Dataset, out: Path, result: TrainingResult
) -> dict[str, Any]:
    """Write what was learnt and its curve; what the command tells."""
    if recipe.product == "part":
        told = {"part": str(save_part(out / "part", recipe, result))}
    elif recipe.product == "folder":
        from diffseg_training.text.publishing import save_folder

        told = {"folder": str(save_folder(out / "folder", recipe, result))}
    else:
        card = _with_metrics(draft_card(recipe, dataset.labels), result, dataset)
        folder = save_model(out / "model", card, _weights(result))
        told = {"model": str(folder.path)}
    return {
        **told,
        **result.told(),
        "stopped": result.stopped,
        "curve": str(draw_curve(out / "log.jsonl", out / "curve.png", recipe.title)),
    }


def draft_card(recipe: Recipe, labels: LabelTable) -> ModelCard:
    """The card of a recipe's model; metrics and checksum come with the weights."""
    text = recipe.card
    table = LabelTable(
        labels=tuple(
            Label(
                name=label.name,
                value=label.value,
                color=text.colors.get(label.name, label.color),
                code=text.codes.get(label.name, label.code),
            )
            for label in labels.each()
        )
    )
    return ModelCard(
        id=text.id,
        version=text.version,
        title=text.title,
        method=recipe.method,
        network=recipe.network,
        labels=table,
        preparation=recipe.preparation,
        sampling=recipe.sampling,
        localisation=recipe.localisation,
        modality=text.modality,
        licence=text.licence,
        sha256="",
        data=text.data,
        recipe=recipe.name,
        intended_use=text.intended_use,
        limits=text.limits,
    )


def _with_metrics(
    card: ModelCard, result: TrainingResult, dataset: Dataset
) -> ModelCard:
    metrics = {
        "cases": {name: len(dataset.split(name)) for name in ("train", "val")},
        "val_during_training": {k: round(v, 4) for k, v in result.best.items()},
        "steps": result.steps,
        "minutes": round(result.minutes, 1),
        "trained": date.today().isoformat(),
    }
    return card.model_copy(update={"metrics": metrics})


def _weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    return dict(result.network.state_dict())
