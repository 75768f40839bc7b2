"""What DiCLIP's training makes: its teacher's model with adapter and head in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from diffseg.domain import ModelCard
from diffseg.domain.card import IMAGE_LEVEL
from diffseg.domain.diclip import diclip_config
from diffseg.models import ModelFolder
from diffseg.models.folder import read_folder
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly, Trained
from diffseg.segmenters.text.cache_files import CACHE
from diffseg.segmenters.text.loading import place_of
from diffseg.volume import atomic_write_bytes
from diffseg_training.dataset import Dataset
from diffseg_training.recipe import Recipe
from diffseg_training.run import draft_card
from diffseg_training.settings.diclip import Settings
from diffseg_training.text.taught_model import PARTS
from diffseg_training.trainer import TrainingResult


def write_trained(
    recipe: Recipe,
    dataset: Dataset,
    teacher: ModelFolder,
    result: TrainingResult,
    target: Path,
) -> ModelFolder:
    """Put the trained model together, in the place of one that an earlier sitting left.

    Raises
    ------
    UserError
        A part is gone, or the folder cannot be written.
    """
    made = Making(_about(recipe, dataset, result), _copied(recipe))
    # Values and colours are the data set's.
    labels = draft_card(recipe, dataset.labels).labels

    def carded(card: ModelCard) -> ModelCard:
        return card.model_copy(update={"labels": labels})

    return put_together(recipe, teacher, result, target, made, carded)


@dataclass(frozen=True, slots=True)
class Making:
    """What is not told by a recipe of the model that is put together.

    Parameters
    ----------
    about : mapping
        Fields of the card.
    copied : bool
        Whether folders of backbones are copied beside the card.
    """

    about: Mapping[str, Any]
    copied: bool


def put_together(
    recipe: Recipe,
    teacher: ModelFolder,
    result: TrainingResult,
    target: Path,
    making: Making,
    carded: Callable[[ModelCard], ModelCard],
) -> ModelFolder:
    """Put backbones, cache, adapter and head into one folder.

    Parameters
    ----------
    carded : callable
        The card that is written, of the one of what was put together.

    Raises
    ------
    UserError
        A part is gone, or the folder cannot be written.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    before = diclip_config(teacher.card.network, f"model {teacher.name}")
    state = result.network.state_dict()
    options: Mapping[str, Any] = before.model_dump(mode="json", exclude=PARTS)
    diffusion = None
    if before.diffusion is not None:
        diffusion = place_of(before.diffusion, teacher.path)
    changed: dict[str, Any] = {"answer": config.answer}
    if config.variant == "code" and "cache_weight" not in config.options:
        changed["cache_weight"] = 0.1  # as the code weighs what an adapter answers
    parts = Assembly(
        clip=place_of(before.clip, teacher.path),
        labels=teacher.card.labels.names,
        channels=recipe.preparation.channels,
        diffusion=diffusion,
        options={**options, **changed},
        preparation=recipe.preparation,
        cache=teacher.path / CACHE,
        adapter=Trained(recipe.network["adapter"], _part(state, "adapter")),
        head=Trained(recipe.network["head"], _part(state, "head")),
        copy=making.copied,
        members=recipe.sampling.members,
        about=making.about,
    )
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    made = assemble(aside, recipe.card.id, parts)
    text = carded(made.card).model_dump_json(indent=2) + "\n"
    atomic_write_bytes(aside / "card.json", text.encode())
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return read_folder(target)


def _copied(recipe: Recipe) -> bool:
    config = recipe.objective
    assert isinstance(config, Settings)
    return config.copied


def _part(state: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(f"{name}."): value.detach().cpu()
        for key, value in state.items()
        if key.startswith(f"{name}.")
    }


def _about(recipe: Recipe, dataset: Dataset, result: TrainingResult) -> dict[str, Any]:
    """Fields of the card: what a person wrote, and what was measured."""
    text = recipe.card
    metrics = {
        "cases": {name: len(dataset.split(name)) for name in ("train", "val")},
        "image_level_on_val": {k: round(v, 4) for k, v in result.best.items()},
        "trained_on": IMAGE_LEVEL,
        "steps": result.steps,
        "minutes": round(result.minutes, 1),
        "trained": date.today().isoformat(),
    }
    return {
        "title": text.title,
        "modality": text.modality,
        "licence": text.licence,
        "data": text.data,
        "intended_use": text.intended_use,
        "limits": text.limits,
        "version": text.version,
        "recipe": recipe.name,
        "metrics": metrics,
    }
