"""A cache of some classes alone; words go on telling of others (DiCLIP, table XV)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from diffseg.domain.slice_labels import PRESENT
from diffseg.errors import UserError
from diffseg.segmenters.text.cache import KeyValueCache
from diffseg.segmenters.text.cache_looking import CacheSlice
from diffseg.segmenters.text.masked_means import MaskedMeans
from diffseg_training.settings.diclip import Caching


def cached_classes(how: Caching, names: Sequence[str]) -> tuple[int, ...]:
    """Indices of the classes that a cache is made of, all where none is named.

    Raises
    ------
    UserError
        There is no such class, or the values of keys would tell of every class.
    """
    if how.classes is None:
        return tuple(range(len(names)))
    for name in how.classes:
        if name not in names:
            raise UserError(
                f"{name!r} is no class of the model; its classes are {', '.join(names)}"
            )
    if how.weighting == "softmax":
        raise UserError(
            "weighting softmax lets every key tell of every class, cached or not: give "
            "text or one_hot with classes"
        )
    return tuple(index for index, name in enumerate(names) if name in how.classes)


def of_cached(
    slices: Sequence[CacheSlice], cached: Collection[int]
) -> list[CacheSlice]:
    """Slices that show a cached class, or none at all."""
    return [one for one in slices if not (shown := _shown(one)) or shown & set(cached)]


def _shown(one: CacheSlice) -> set[int]:
    """Indices of the classes that a slice shows."""
    if one.classes is None:
        return set(np.flatnonzero(one.states == PRESENT).tolist())
    return {int(value) - 1 for value in np.unique(one.classes) if value}


def means_of_cached(means: MaskedMeans, cached: Collection[int]) -> MaskedMeans:
    """Means of the background and of cached classes."""
    wanted = [0, *(index + 1 for index in cached)]
    kept = np.flatnonzero(np.isin(means.classes, wanted))
    return MaskedMeans(
        means.features[kept],
        means.classes[kept],
        tuple(means.images[int(place)] for place in kept),
        means.empty,
    )


def require_keys(cache: KeyValueCache, cached: Collection[int]) -> KeyValueCache:
    """The cache, if every cached class and the background has a key.

    Raises
    ------
    UserError
        One has none.
    """
    names = {"background", *(cache.names[index] for index in cached)}
    for name, count in cache.counts().items():
        if not count and name in names:
            raise UserError(
                f"no image shows {name}: give images of it whose masks cover a patch "
                "or more"
            )
    return cache
