"""DiCLIP trained from end to end: a model with a cache, then its adapter and head.

Two stages in one folder. ``cached`` is the model that teaches: put together of the
recipe's backbones and words, with a cache of the data set's labelled images, or a model
that was given. Then adapter and head learn by the ordinary trainer, and ``model`` is
put together of all. A run that was interrupted goes on in the stage where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model
from diffseg.models.folder import read_folder, sha256_of
from diffseg.progress import Progress, Work
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.volume import atomic_write_bytes
from diffseg_training.curve import draw_curve
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.labelled import LabelledExample
from diffseg_training.labelled_splits import labelled_splits
from diffseg_training.lock import alone_in
from diffseg_training.machines import make_accelerator
from diffseg_training.recipe import Recipe
from diffseg_training.run_folder import check_begun, make_folder
from diffseg_training.settings.diclip import Settings
from diffseg_training.text.cache_slices import chosen_slices
from diffseg_training.text.taught_model import filled_recipe, iter_taught
from diffseg_training.text.trained_model import write_trained
from diffseg_training.trainer import iter_train
from diffseg_training.weak.stages import Mark, key_of

_STAGE = "cached"


def train_assembled(
    recipe: Recipe, data: str, out: Path, resume: bool, device: str
) -> Work[dict[str, Any]]:
    """Train adapter and head on image-level labels; write ``out/model``.

    Returns
    -------
    dict
        As `diffseg_training.run.train_model` tells.

    Raises
    ------
    UserError
        Recipe, data, backbones or folder cannot be used, or several processes are
        asked to.
    """
    config = _checked(recipe)
    dataset = load_dataset(data, masks=recipe.labels.source == "mask")
    dataset.for_training()  # refused before anything is made
    if make_accelerator(recipe, device, out).num_processes > 1:
        raise UserError(
            f"recipe {recipe.name} is learnt by one process: start it without "
            "accelerate launch"
        )
    begun = (out / _STAGE / "begun.json").is_file() or (out / "log.jsonl").is_file()
    check_begun(out, begun, resume)
    make_folder(out)
    with alone_in(out):
        train, val = yield from labelled_splits(recipe, dataset, out / "cache")
        teacher = yield from _taught_by(recipe, config, dataset, train, out, device)
        filled = filled_recipe(recipe, config, teacher, train[0], out, device)
        result = yield from iter_train(
            filled,
            train,
            None,
            out,
            device=device,
            resume=(out / "state" / "state.json").is_file(),
            held_out=val,
        )
        written = write_trained(filled, dataset, teacher, result, out / "model")
    return {
        "model": str(written.path),
        **result.told(),
        "stopped": result.stopped,
        "curve": str(draw_curve(out / "log.jsonl", out / "curve.png", recipe.title)),
    }


def _checked(recipe: Recipe) -> Settings:
    """Settings of a recipe whose model is put together; `UserError` says what not."""
    config = recipe.objective
    if not isinstance(config, Settings):
        raise UserError(f"objective {config.name} is not put together like diclip's")
    if recipe.product != "model" or recipe.start is not None or recipe.lora is not None:
        raise UserError(
            f"recipe {recipe.name}: objective diclip writes a model of its own: leave "
            "out product, start and lora"
        )
    if {key for key in recipe.network if key != "name"}:
        raise UserError(
            f"recipe {recipe.name}: sizes of network diclip follow from its backbones "
            "and its cache: give objective.adapter and objective.head instead"
        )
    size = recipe.preparation.size
    if size is None or tuple(size) != tuple(recipe.patch):
        raise UserError(
            f"recipe {recipe.name} sees whole slices: set preparation.size to the "
            f"patch, {list(recipe.patch)}"
        )
    return config


def _taught_by(
    recipe: Recipe,
    config: Settings,
    dataset: Dataset,
    train: Sequence[LabelledExample],
    out: Path,
    device: str,
) -> Work[ModelFolder]:
    """The model that teaches, made unless an earlier sitting has."""
    folder = out / _STAGE
    dumped = recipe.model_dump(mode="json")
    shared = ("clip", "diffusion", "model", "prompts", "variant", "options", "cache")
    words = _words_file(config, folder)
    said = "" if words is None else sha256_of(words)
    told = [dumped["preparation"], dumped["seed"], dumped["labels"], said]
    told += [{key: dumped["objective"][key] for key in shared}]
    told += [one.case for one in train]
    mark = Mark(folder, key_of(told, _STAGE))
    if mark.told() is not None:
        return read_folder(folder / "model")
    yield Progress("cache", 0, 1, "the model that teaches")
    mark.begin()
    for left in ("plain", "model"):  # of a sitting that was interrupted
        shutil.rmtree(folder / left, ignore_errors=True)
    source = _plain(recipe, config, dataset, words, folder / "plain")
    names = dataset.labels.names
    if source.card.labels.names != names:
        raise UserError(
            f"model {source.name} is of the classes "
            f"{', '.join(source.card.labels.names)}, the data set of "
            f"{', '.join(names)}: give both the same, in one order"
        )
    slices = chosen_slices(source.card, train, config.cache.images)
    written = yield from iter_taught(
        source, config.cache, slices, out=folder / "model", id=recipe.card.id,
        seed=recipe.seed, device=device,
    )  # fmt: skip
    mark.finish({})
    return written


def _words_file(config: Settings, folder: Path) -> Path | None:
    """The prompts file of a recipe, written where its words stand in the recipe.

    Raises
    ------
    UserError
        There is no such file.
    """
    if isinstance(config.words, dict):
        text = yaml.safe_dump(config.words, sort_keys=False, allow_unicode=True)
        return atomic_write_bytes(folder / "words.yaml", text.encode())
    if config.words is not None and not config.words.is_file():
        raise UserError(f"objective.words: there is no file {config.words}")
    return config.words


def _plain(
    recipe: Recipe,
    config: Settings,
    dataset: Dataset,
    words: Path | None,
    folder: Path,
) -> ModelFolder:
    """The model that was given, or one of the backbones and words of the recipe."""
    if config.model is not None:
        return find_model(config.model)
    assert config.clip is not None
    parts = Assembly(
        clip=config.clip,
        labels=dataset.labels.names,
        diffusion=config.diffusion,
        prompts=config.prompts,
        words=words,
        variant=config.variant,
        options=config.options,
        preparation=recipe.preparation,
        copy=False,
    )
    return assemble(folder, recipe.card.id, parts)
