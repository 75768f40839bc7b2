"""The recipe of a fine-tuning: the parent's and its card's, and what lies over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.resources import merged, read_recipe, resource
from diffseg.volume import atomic_write_bytes
from diffseg_training.finetuning.job import RECIPE, FinetuneJob
from diffseg_training.finetuning.word_recipe import (
    answers_to_words,
    base_content,
    word_content,
)
from diffseg_training.recipe import Recipe, load_recipe, recipe_content, recipe_path
from diffseg_training.recipe_reading import recipe_names

FILE = "recipe.yaml"
_FACTS = ("method", "network", "preparation", "sampling", "localisation")


def write_recipe(parent: ModelFolder, job: FinetuneJob, folder: Path) -> Recipe:
    """Put a run's recipe together, and keep it in the run's folder.

    Raises
    ------
    UserError
        The parent's recipe is not known, or an override does not fit.
    """
    base = _parents(parent, job)
    if answers_to_words(parent):
        content = word_content(parent, base, job)
    else:
        content = merged(base, read_recipe(_overlay()))
        facts = parent.card.model_dump(mode="json")
        content |= {name: facts[name] for name in _FACTS}
        content |= {"start": str(parent.path.resolve()), "seed": job.seed}
    atomic_write_bytes(folder / FILE, _yaml(content))
    recipe = read_run_recipe(folder, job)
    if recipe.objective.learns_labels and not recipe.objective.assembled:
        raise UserError(
            f"recipe {recipe.name} of {parent.name} learns from image-level labels "
            "alone, and corrections teach it nothing: train a segmenter of its masks "
            "and the corrections, diffseg project self-train"
        )
    return recipe


def read_run_recipe(folder: Path, job: FinetuneJob) -> Recipe:
    """Read the recipe that `write_recipe` kept, with what the job overrides."""
    overrides = list(job.settings)
    if job.minutes is not None:
        overrides += [f"length.minutes={job.minutes}", "length.steps=null"]
    for name in ("tolerance", "overall_tolerance"):
        value = getattr(job, name)
        if value is not None:
            overrides.append(f"finetuning.{name}={value}")
    if job.replay is not None and not _says(job, "finetuning.anchor"):
        overrides.append("finetuning.anchor=0")  # the base data hold the model instead
    recipe = load_recipe(str(folder / FILE), overrides)
    options = recipe.finetuning
    assert options is not None
    changed: dict[str, float] = {}
    if not _says(job, "optimiser.learning_rate"):
        changed["learning_rate"] = recipe.optimiser.learning_rate * options.rate
    if not _says(job, "optimiser.batch"):
        changed["batch"] = max(1, round(recipe.optimiser.batch * options.batch))
    optimiser = recipe.optimiser.model_copy(update=changed)
    return recipe.model_copy(update={"optimiser": optimiser})


def _overlay() -> Path:
    return resource("recipes", *f"{RECIPE}.yaml".split("/"))


def _parents(parent: ModelFolder, job: FinetuneJob) -> dict[str, Any]:
    """What the recipe says that the parent was trained by."""
    name = job.recipe or parent.card.recipe
    if name is None or (job.recipe is None and name not in recipe_names()):
        if answers_to_words(parent):
            return base_content(parent)
        said = "no recipe" if name is None else f"recipe {name!r}, which does not ship"
        raise UserError(
            f"the card of {parent.name} names {said}: "
            "give the recipe that it was trained by, a name or a YAML file",
            option="--recipe",
        )
    return recipe_content(recipe_path(name))


def _says(job: FinetuneJob, key: str) -> bool:
    return any(one.partition("=")[0].strip() == key for one in job.settings)


def _yaml(content: dict[str, Any]) -> bytes:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text.encode()
