"""The model that teaches DiCLIP's adapter and head, and the recipe that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffseg.domain.diclip import diclip_config
from diffseg.models import ModelFolder
from diffseg.progress import Work
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.segmenters.text.cache_files import CACHE
from diffseg.segmenters.text.cache_looking import CacheSlice
from diffseg.segmenters.text.cached_model import write_cached
from diffseg.segmenters.text.loading import place_of
from diffseg_training.labelled import LabelledExample
from diffseg_training.recipe import Recipe
from diffseg_training.settings.diclip import Caching, Settings
from diffseg_training.text.caching import iter_cache
from diffseg_training.text.learning_parts import learner_config

# What is the recipe's own: backbones and weights are told beside them.
PARTS = {"name", "clip", "diffusion", "adapter", "head", "cache", "answer"}


def iter_taught(
    source: ModelFolder,
    how: Caching,
    labelled: Sequence[CacheSlice],
    corrected: Sequence[CacheSlice] = (),
    *,
    out: Path,
    id: str,
    seed: int,
    device: str,
) -> Work[ModelFolder]:
    """Write a model with a cache: its own if it has one, else one of these slices.

    Raises
    ------
    UserError
        A class has no usable slice, or a part cannot be used.
    """
    model = Diclip.from_model(source, device)
    cache = model.network.cache
    if cache is None:
        cache, _ = yield from iter_cache(model, how, labelled, corrected, seed=seed)
    return write_cached(source, cache, out, id)


def without_learnt(model: ModelFolder, out: Path) -> ModelFolder:
    """Write a model as it was before adapter and head: it answers by its maps.

    Backbones are referred to where they lie, and not copied.

    Raises
    ------
    UserError
        A backbone is gone, or another one than the card's.
    """
    card = model.card
    config = diclip_config(card.network, f"model {model.name}")
    options: Mapping[str, Any] = config.model_dump(mode="json", exclude=PARTS)
    parts = Assembly(
        clip=place_of(config.clip, model.path),
        labels=card.labels.names,
        channels=card.preparation.channels,
        diffusion=None
        if config.diffusion is None
        else place_of(config.diffusion, model.path),
        options=options,
        preparation=card.preparation,
        cache=model.path / CACHE if config.cache else None,
        members=card.sampling.members,
        copy=False,
    )
    return assemble(out, card.id, parts)


def filled_recipe(
    recipe: Recipe,
    config: Settings,
    teacher: ModelFolder,
    first: LabelledExample,
    out: Path,
    device: str,
) -> Recipe:
    """The recipe as the trainer takes it: sizes of networks, model and features.

    Sizes that the recipe has already, those of a start, stay.
    """
    network = recipe.network
    if set(network) == {"name"}:
        model = Diclip.from_model(teacher, device)
        network = {**network, **learner_config(model, config, first)}
    where = {
        "model": str(teacher.path.resolve()),
        "clip": None,
        "features": out / "features",
    }
    objective = config.model_copy(update=where)
    return recipe.model_copy(update={"network": network, "objective": objective})
