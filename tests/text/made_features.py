"""Features whose classes are known, and caches of them: random, the same each time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffseg.segmenters.text.cache import CachedImage, KeyValueCache

WIDTH = 12
NAMES = ("tumour", "cyst")
BACKBONES = {"clip": "a" * 64, "diffusion": "b" * 64}


class Made(NamedTuple):
    """Images of patches that are near one of K + 1 directions.

    features (B, N, E), class_token (B, E), classes (B, N) with 0 background, directions
    (K + 1, E), and text embeddings (K, E) a little off them.
    """

    features: Tensor
    class_token: Tensor
    classes: Tensor
    directions: Tensor
    texts: np.ndarray

    @property
    def masks(self) -> Tensor:
        """Masks (B, K, N) of the foreground classes."""
        count = len(self.directions) - 1
        return torch.stack([self.classes == k + 1 for k in range(count)], dim=1)


def made_features(
    seed: int = 0,
    images: int = 4,
    grid: tuple[int, int] = (5, 6),
    width: int = WIDTH,
    classes: int = 2,
    noise: float = 0.3,
) -> Made:
    """Random images in which every class has patches."""
    source = torch.Generator().manual_seed(seed)
    directions = torch.randn(classes + 1, width, generator=source)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    patches = grid[0] * grid[1]
    order = torch.rand(images, patches, generator=source).argsort(1)
    found = order % (classes + 1)
    blur = noise * torch.randn(images, patches, width, generator=source)
    features = directions[found] + blur
    texts = directions[1:] + 0.2 * torch.randn(classes, width, generator=source)
    texts = torch.nn.functional.normalize(texts, dim=-1)
    return Made(features, features.mean(1), found, directions, texts.numpy())


def made_cache(seed: int = 0, keys: int = 9, **changes: Any) -> KeyValueCache:
    """A cache of random keys, of each class some, each of two images."""
    source = np.random.default_rng(seed)
    texts = source.normal(size=(len(NAMES), WIDTH)).astype(np.float32)
    given: dict[str, Any] = {
        "keys": source.normal(size=(keys, WIDTH)).astype(np.float32),
        "classes": np.arange(keys) % (len(NAMES) + 1),
        "names": NAMES,
        "texts": texts / np.linalg.norm(texts, axis=1, keepdims=True),
        "images": tuple(
            (
                CachedImage(f"image {2 * index}", "generated", 0.25, f"{index}"),
                CachedImage(f"image {2 * index + 1}", "correction", 0.75),
            )
            for index in range(keys)
        ),
        "backbones": BACKBONES,
        "pictures": {
            f"{index}": np.full((4, 5), index, np.uint8) for index in range(keys)
        },
        "background_text": source.normal(size=WIDTH).astype(np.float32),
    }
    return KeyValueCache(**{**given, **changes})


def reordered(cache: KeyValueCache, order: list[int]) -> KeyValueCache:
    """The same cache with its keys in another order."""
    return KeyValueCache(
        keys=cache.keys[order],
        classes=cache.classes[order],
        names=cache.names,
        texts=cache.texts,
        images=tuple(cache.images[index] for index in order),
        backbones=cache.backbones,
        background_text=cache.background_text,
        weighting=cache.weighting,
        normalisation=cache.normalisation,
        pictures=cache.pictures,
    )
