"""A training run from end to end: read, prepare, train, choose on val, write."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from diffseg.domain import Label, LabelTable, ModelCard
from diffseg.errors import UserError
from diffseg.metrics import dice
from diffseg.models import save_model
from diffseg.progress import Work
from diffseg.segmenters import Host, resolve_device
from diffseg.segmenters.base import load_method
from diffseg_training.curve import draw_curve
from diffseg_training.dataset import load_dataset
from diffseg_training.recipe import Recipe, load_recipe
from diffseg_training.trainer import TrainingResult, iter_train
from diffseg_training.training_set import Example, prepare_examples

# Members drawn per case when weights are compared on val during training: one for
# each of two test-time flips; the ensemble's size is chosen afterwards.
VALIDATION_MEMBERS = 2


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

    Returns
    -------
    dict
        model, steps, minutes, skipped (steps whose gradient was not finite), best
        (scores on val), curve.

    Raises
    ------
    UserError
        The recipe, the data or the folder cannot be used.
    """
    recipe = load_recipe(name, overrides)
    where = resolve_device(device or "auto")
    dataset = load_dataset(data)
    learned, chosen = dataset.split("train"), dataset.split("val")
    _open_folder(out, resume)
    train = yield from prepare_examples(learned, dataset, recipe.preparation)
    val = yield from prepare_examples(chosen, dataset, recipe.preparation)
    card = draft_card(recipe, dataset.labels)

    def validate(network: nn.Module) -> Mapping[str, float]:
        return validation_scores(network, card, val, where)

    result = yield from iter_train(
        recipe, train, validate, out, device=where, resume=resume
    )
    folder = save_model(out / "model", _with_metrics(card, result), _weights(result))
    curve = draw_curve(out / "log.jsonl", out / "curve.png")
    return {
        "model": str(folder.path),
        "steps": result.steps,
        "minutes": round(result.minutes, 2),
        "skipped": result.skipped,
        "best": {k: round(v, 4) for k, v in result.best.items()},
        "curve": str(curve),
    }


def _open_folder(out: Path, resume: bool) -> None:
    if not resume and (out / "log.jsonl").exists():
        raise UserError(f"{out} holds a run already: add --resume or name a new folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"folder {out} cannot be made: {err.strerror}") from err
    if not os.access(out, os.W_OK):
        raise UserError(f"folder {out} cannot be written: choose another with --out")


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


def _with_metrics(card: ModelCard, result: TrainingResult) -> ModelCard:
    metrics = {
        "val_during_training": {k: round(v, 4) for k, v in result.best.items()},
        "steps": result.steps,
        "minutes": round(result.minutes, 1),
        "trained": date.today().isoformat(),
    }
    return card.model_copy(update={"metrics": metrics})


def _weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    return dict(result.network.state_dict())


def validation_scores(
    network: nn.Module, card: ModelCard, examples: Sequence[Example], device: str
) -> Mapping[str, float]:
    """Mean Dice of each structure on the prepared grid, and their mean as `score`."""
    segmenter = load_method(card.method)(card, network, Host(device, 1))
    names = card.labels.names
    per_case = []
    for one in examples:
        drawn = segmenter.draw(
            one.image.numpy(),
            members=VALIDATION_MEMBERS,
            steps=card.sampling.steps,
            seed=0,
        )
        mean = np.mean([np.asarray(member) for member in drawn], axis=0)
        answer, reference = mean.argmax(0), one.classes.numpy()
        indices = range(1, len(names) + 1)
        per_case.append([dice(answer, reference, index) for index in indices])
    means = np.mean(per_case, axis=0)
    scores = dict(zip(names, map(float, means), strict=True))
    return {**scores, "score": float(means.mean())}
