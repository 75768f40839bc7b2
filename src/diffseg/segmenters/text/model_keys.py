"""Keys of a model's cache: looked at, and dropped in a new version; no torch.

A model on disk is never changed: one that loses keys is a new version of it, named
``1.0+keys1``, whose parent it is, so that `roll_back` leads back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from diffseg.domain import ModelCard
from diffseg.domain.cache_keys import BACKGROUND, CacheKey, KeyImage
from diffseg.domain.diclip import METHOD, DiclipConfig, diclip_config
from diffseg.errors import UserError
from diffseg.models import ModelFolder, list_models, reference_of, verify_model
from diffseg.models.folder import sha256_of_folder
from diffseg.models.lineage import pruned_version
from diffseg.models.registry import add_version
from diffseg.segmenters.text.cache import KeyValueCache
from diffseg.segmenters.text.cache_files import CACHE, load_cache, save_cache


def has_keys(card: ModelCard) -> bool:
    """Whether a model holds a cache of keys, as its card says."""
    return card.method == METHOD and card.network.get("cache") is True


def read_keys(model: ModelFolder) -> tuple[CacheKey, ...]:
    """Read the keys of a model's cache, with their pictures.

    Raises
    ------
    UserError
        The model holds no cache, or it cannot be read.
    """
    _config(model)
    return keys_of(load_cache(model.path / CACHE))


def keys_of(cache: KeyValueCache) -> tuple[CacheKey, ...]:
    """Return the keys as a person looks at them, in the order of the cache."""
    names = (BACKGROUND, *cache.names)
    keys = []
    for index, group in enumerate(cache.images):
        label = int(cache.classes[index])
        images = sorted(group, key=lambda one: -one.weight)
        keys.append(
            CacheKey(
                index,
                names[label],
                tuple(
                    KeyImage(
                        one.id,
                        one.source,
                        one.origin,
                        one.weight,
                        cache.pictures.get(one.thumbnail),
                    )
                    for one in images
                ),
                label > 0,
            )
        )
    return tuple(keys)


def drop_keys(model: ModelFolder, indices: Sequence[int]) -> ModelFolder:
    """Make a version of a model whose cache is without some keys.

    What was measured of the model, and its calibration, holds for it no longer, and is
    not on the new card.

    Parameters
    ----------
    model : ModelFolder
        Of the catalogue; it stays as it is.
    indices : sequence of int
        Of the keys; see `CacheKey.index`.

    Returns
    -------
    ModelFolder
        The new version, which the model's id means from now on.

    Raises
    ------
    UserError
        There is no such key, it is the last one of its class, the cache has no say in
        what the model answers, or the version cannot be written.
    """
    config = _config(model)
    card, chosen = model.card, sorted(set(indices))
    if not chosen:
        raise UserError("no key is chosen; choose those that mislead the model")
    if config.answer == "head" or config.adapter is not None:
        part = "head" if config.answer == "head" else "adapter"
        raise UserError(
            f"the {part} of model {card.id} answers in its cache's place: without a "
            "key it would answer the same; train it anew instead"
        )
    models = list_models()
    if not any(one.path.samefile(model.path) for one in models):
        raise UserError(
            f"{model.path} is none of your models: add it first, with diffseg models "
            "add, so that there is a version to go back to"
        )
    verify_model(model)
    cache = _still_whole(load_cache(model.path / CACHE), chosen)
    known = [one.card.version for one in models if one.card.id == card.id]
    with tempfile.TemporaryDirectory(prefix="diffseg-keys-") as scratch:
        folder = Path(scratch) / CACHE
        save_cache(cache, folder)
        changes = {
            "version": pruned_version(card.version, known),
            "parent": reference_of(card),
            "folders": {**card.folders, CACHE: sha256_of_folder(folder)},
            "calibration": None,
            "metrics": {},
        }
        new = card.model_copy(update=changes)
        return add_version(model, new, folders={CACHE: folder})


def _config(model: ModelFolder) -> DiclipConfig:
    if not has_keys(model.card):
        raise UserError(f"model {model.card.id} holds no cache of keys")
    return diclip_config(model.card.network, f"model {model.card.id}")


def _still_whole(cache: KeyValueCache, chosen: list[int]) -> KeyValueCache:
    """The cache without these keys, if each class that had one still has one."""
    smaller = cache.without(*chosen)
    before, after = cache.counts(), smaller.counts()
    for name, count in after.items():
        if not count and before[name]:
            raise UserError(
                f"these are all the keys of {name}: keep one, or build the cache anew"
            )
    return smaller
