"""A cache from mean features of images: similar ones become one key (DiCLIP, eq. 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.cache_keys import Normalisation
from diffseg.errors import UserError
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache, Pictures
from diffseg.segmenters.text.cache_values import Floats, Weighting
from diffseg.segmenters.text.masked_means import MaskedMeans


def clustered_keys(
    means: MaskedMeans,
    clusters: int | None = 10,
    background_clusters: int | None = 20,
    *,
    seed: int,
) -> tuple[Floats, NDArray[np.int64], tuple[tuple[CachedImage, ...], ...]]:
    """Centres of K-means of each class, background pooled over all: equation 9.

    Parameters
    ----------
    means : MaskedMeans
        An image of twice the weight counts twice.
    clusters, background_clusters : int, optional
        Of each class, and of the background. Of fewer different features, each is a
        key. None: every feature is one, the paper's ablation without clusters.
    seed : int

    Returns
    -------
    keys : (M, E) float32 ndarray
        Background first, class after class.
    classes : (M,) int64 ndarray
    images : tuple of M tuples of CachedImage
        Their weights are shares of the key, 1 together.
    """
    keys, classes, images = [], [], []
    for index in np.unique(means.classes).tolist():
        chosen = np.flatnonzero(means.classes == index)
        wanted = clusters if index else background_clusters
        origins = [means.images[place] for place in chosen]
        weights = np.array([one.weight for one in origins])
        labels = _clusters(means.features[chosen], weights, wanted, seed)
        for label in np.unique(labels):
            inside = np.flatnonzero(labels == label)
            shares = weights[inside] / weights[inside].sum()
            keys.append(shares @ means.features[chosen[inside]])
            classes.append(index)
            images.append(
                tuple(
                    replace(origins[place], weight=float(share))
                    for place, share in zip(inside, shares, strict=True)
                )
            )
    width = means.features.shape[1]
    found = np.array(keys, np.float32).reshape(-1, width)
    return found, np.array(classes, np.int64), tuple(images)


def _clusters(
    features: Floats, weights: NDArray[np.float64], count: int | None, seed: int
) -> NDArray[np.int64]:
    """Number of the cluster of each feature, (F,)."""
    from sklearn.cluster import KMeans  # slow to import

    different, which = np.unique(features, axis=0, return_inverse=True)
    if count is None:
        return np.arange(len(features))
    if len(different) <= count:
        return which.reshape(-1).astype(np.int64)
    found = KMeans(count, n_init=10, random_state=seed).fit_predict(
        features.astype(np.float64), sample_weight=weights
    )
    return np.asarray(found, np.int64)


def build_cache(
    means: MaskedMeans,
    names: Sequence[str],
    texts: Floats,
    backbones: Mapping[str, str],
    *,
    seed: int,
    clusters: int | None = 10,
    background_clusters: int | None = 20,
    background_text: Floats | None = None,
    weighting: Weighting = "text",
    normalisation: Normalisation = "patch",
    partial: bool = False,
    pictures: Pictures = MappingProxyType({}),
) -> KeyValueCache:
    """Build a cache from the means of images.

    Parameters
    ----------
    means : MaskedMeans
    names : sequence of K str
        Of the foreground classes.
    texts : (K, E) float32 ndarray
        Their text embeddings, of length 1.
    backbones : mapping of str to str
        Identities of what made the features.
    seed : int
        Of K-means.
    clusters, background_clusters : int, optional
        See `clustered_keys`. 10 and 20 make the paper's 220 keys of 20 classes.
    background_text : (E,) float32 ndarray, optional
    weighting : {"text", "one_hot", "softmax"}
        See `diffseg.segmenters.text.cache_values.values_of`.
    normalisation : {"patch", "image"}
        How the features were normalised.
    partial : bool
        Whether a class may be without a key, to be learnt by an adapter's prompts.
    pictures : mapping of str to uint8 ndarray
        Of the images, by the names of their thumbnails; see `cache_pictures.pictured`.

    Raises
    ------
    UserError
        No image shows a class, or has any background, and `partial` is False.
    """
    _require_each(means, tuple(names), partial)
    keys, classes, images = clustered_keys(
        means, clusters, background_clusters, seed=seed
    )
    return KeyValueCache(
        keys=keys,
        classes=classes,
        names=tuple(names),
        texts=texts,
        images=images,
        backbones=backbones,
        background_text=background_text,
        weighting=weighting,
        normalisation=normalisation,
        pictures=pictures,
    )


def grown(
    cache: KeyValueCache,
    means: MaskedMeans,
    backbones: Mapping[str, str],
    *,
    seed: int,
    clusters: int | None = None,
    background_clusters: int | None = None,
    pictures: Pictures = MappingProxyType({}),
) -> KeyValueCache:
    """Return the cache with keys of more images, such as corrections, after its own.

    Its own keys stay as they are. By default every new image is a key of its own.

    Parameters
    ----------
    cache : KeyValueCache
    means : MaskedMeans
    backbones : mapping of str to str
        Identities of what made the new features.
    seed : int
    clusters, background_clusters : int, optional
        See `clustered_keys`.
    pictures : mapping of str to uint8 ndarray
        Of the new images, by the names of their thumbnails.

    Raises
    ------
    UserError
        The new features are of another backbone, or an image is in the cache already:
        it would count twice.
    """
    cache.require(backbones)
    for image in dict.fromkeys(one.id for one in means.images):
        if cache.keys_of(image):
            raise UserError(
                f"the cache holds image {image} already: drop its keys first, or give "
                "the image another id"
            )
    return cache.with_keys(
        *clustered_keys(means, clusters, background_clusters, seed=seed), pictures
    )


def _require_each(means: MaskedMeans, names: tuple[str, ...], partial: bool) -> None:
    """Refuse a class without any feature, in one line."""
    if len(means.classes) == 0:
        raise UserError(
            "no image has a mask: the cache would be empty; give other masks"
        )
    for index, name in enumerate(("background", *names)):
        if not partial and not (means.classes == index).any():
            raise UserError(
                f"no image shows {name}: {means.empty[index]} masks of it were empty; "
                "give images of it whose masks cover a patch or more"
            )
