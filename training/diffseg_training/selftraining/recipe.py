"""The recipe of a self-training: a supervised segmenter's, and what the job says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models import find_model
from diffseg.volume import atomic_write_bytes
from diffseg_training.finetuning.recipe import FILE
from diffseg_training.recipe import Recipe, load_recipe, recipe_content, recipe_path
from diffseg_training.recipe_reading import recipe_names
from diffseg_training.selftraining.job import SelfTrainJob


def write_recipe(job: SelfTrainJob, card: ModelCard, folder: Path) -> Recipe:
    """Put a run's recipe together, and keep it in the run's folder.

    Parameters
    ----------
    card : ModelCard
        Of the weak model.

    Raises
    ------
    UserError
        There is no such recipe, it makes no segmenter that learns from masks, it is
        for another modality, or an override does not fit.
    """
    assert job.recipe is not None
    content = recipe_content(recipe_path(job.recipe), _overrides(job))
    content["self_training"] = content.get("self_training") or {}
    if job.start is not None:
        content["start"] = str(find_model(job.start).path.resolve())
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    atomic_write_bytes(folder / FILE, text.encode())
    recipe = read_run_recipe(folder)
    why = refusal(recipe, card)
    if why:
        raise UserError(f"recipe {recipe.name} {why}")
    return recipe


def read_run_recipe(folder: Path) -> Recipe:
    """Read the recipe that `write_recipe` kept: nothing is left to be overridden."""
    return load_recipe(str(folder / FILE))


def refusal(recipe: Recipe, card: ModelCard) -> str:
    """Why a recipe makes no segmenter in a weak model's place; "" where it does."""
    if recipe.objective.learns_labels or recipe.objective.chained:
        return "learns from image-level labels: choose one that learns from masks"
    if recipe.product != "model":
        return "makes no segmenter, but a part of one: choose another"
    mine, others = recipe.card.modality, card.modality
    if mine.strip().casefold() != others.strip().casefold():
        return (
            f"is for {mine}, and model {card.id} for {others}: choose another, or say "
            f"that it fits: --set card.modality={others!r}"
        )
    return ""


def fitting_recipes(card: ModelCard) -> tuple[str, ...]:
    """Names of the recipes that ship and could follow a weak model; without torch.

    Whether the network puts out as many classes is found out where it is built.
    """
    channels = len(card.preparation.channels)
    found = ((name, load_recipe(name)) for name in recipe_names())
    return tuple(
        name
        for name, recipe in found
        if not refusal(recipe, card) and recipe.preparation.takes(channels)
    )


def _overrides(job: SelfTrainJob) -> list[str]:
    """What a job says as overrides; its own words come after ``--set``."""
    said: dict[str, Any] = {"seed": job.seed, "finetuning": "null"}
    if job.minutes is not None:
        said |= {"length.minutes": job.minutes, "length.steps": "null"}
    for name in ("keep", "limit", "tolerance", "overall_tolerance"):
        value = getattr(job, name)
        if value is not None:
            said[f"self_training.{name}"] = value
    return ["trackers=[]", *job.settings, *(f"{k}={v}" for k, v in said.items())]
