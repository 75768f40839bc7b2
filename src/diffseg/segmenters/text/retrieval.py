"""Class activation maps retrieved from the cache (DiCLIP, equations 2, 11 and 13).

Every patch of an image is a query. Its similarity to the keys, times their values, says
how much it looks like each class and like the background; where it looks like
background, the classes are held down. No step here has anything to learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.domain.cache_keys import Normalisation
from diffseg.errors import UserError
from diffseg.networks.cache_adapter import (
    Activation,
    CacheAdapter,
    activated,
    normalised,
)
from diffseg.segmenters.text.cache import KeyValueCache
from diffseg.segmenters.text.similarity import min_max, surgery_scores


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """A cache on a device, ready to be asked.

    Parameters
    ----------
    keys : (M, E) Tensor
        Of length 1 for normalisation ``"patch"``, as they are for ``"image"``.
    values : (M, K + 1) Tensor
        Background first.
    normalisation : {"patch", "image"}
        Of the features that are compared with the keys.
    """

    keys: Tensor
    values: Tensor
    normalisation: Normalisation = "patch"


def memory_of(cache: KeyValueCache, device: str | torch.device = "cpu") -> Memory:
    """Bring a cache to a device, in float32.

    Raises
    ------
    UserError
        It has no keys.
    """
    if not len(cache.keys):
        raise UserError("the cache has no keys: add images to it")
    keys = torch.tensor(cache.keys, device=device)
    if cache.normalisation == "patch":
        keys = functional.normalize(keys, dim=-1)
    return Memory(keys, torch.tensor(cache.values, device=device), cache.normalisation)


def adapter_of(
    cache: KeyValueCache,
    prompts: int = 92,
    *,
    values: Literal["weighted", "one_hot"] = "weighted",
    **config: object,
) -> CacheAdapter:
    """Make the adapter that begins with a cache.

    Parameters
    ----------
    cache : KeyValueCache
    prompts : int
        Keys of no class at first, 92 in the paper.
    values : {"weighted", "one_hot"}
        The cache's values, as the paper has it, or its classes as 0 and 1, as in the
        published code.
    **config
        Of `CacheAdapter`, besides what follows from the cache.
    """
    memory = memory_of(cache)
    adapter = CacheAdapter(
        features=memory.keys.shape[1],
        classes=len(cache.names),
        keys=len(memory.keys),
        prompts=prompts,
        normalisation=cache.normalisation,
        **config,  # type: ignore[arg-type]
    )
    spoken = memory.values if values == "weighted" else torch.tensor(cache.one_hot)
    adapter.begin_with(memory.keys, spoken)
    return adapter


def static_scores(
    memory: Memory,
    patches: Tensor,
    class_token: Tensor | None = None,
    *,
    activation: Activation = "relu",
    sharpness: float = 5.5,
) -> Tensor:
    """What the cache says of each patch: ``phi(f K') V``, equation 2.

    The similarity is the cosine where the cache was made of normalised patches; where
    it was made of channels normalised over the image, it is the published code's: that
    of `similarity.surgery_scores`, with keys in the place of texts.

    Parameters
    ----------
    memory : Memory
    patches : (B, N, E) Tensor
        Projected patch tokens, not normalised yet.
    class_token : (B, E) Tensor, optional
        Normalisation ``"image"`` needs it.
    activation, sharpness
        Of `diffseg.networks.cache_adapter.activated`.

    Returns
    -------
    (B, N, K + 1) Tensor
        Background first. The order of the keys plays no part.

    Raises
    ------
    ValueError
        Normalisation ``"image"`` without a class token.
    """
    # A backbone in half precision is asked in that of the cache.
    patches = patches.to(memory.keys.dtype)
    if memory.normalisation == "patch":
        similarity = normalised(patches) @ memory.keys.T
    else:
        if class_token is None:
            raise ValueError("a cache of normalised images needs the class token")
        whole = class_token.to(memory.keys.dtype)
        similarity = surgery_scores(patches, whole, memory.keys)[:, 1:]
    return activated(similarity, activation, sharpness) @ memory.values


def branches(scores: Tensor, *, negative: bool = True) -> Tensor:
    """Maps of the classes, held down where an image looks like background.

    Each column goes from 0 to 1 over its image, the foreground is multiplied by 1 -
    background, and goes from 0 to 1 again (the paper's positive and negative cache).

    Parameters
    ----------
    scores : (B, N, K + 1) Tensor
        Of `static_scores`.
    negative : bool
        Whether the background keys have a say; without, an ablation of the paper.

    Returns
    -------
    (B, N, K) Tensor
        In [0, 1].
    """
    each = min_max(scores)
    found = each[..., 1:]
    return min_max(found * (1 - each[..., :1])) if negative else found


def fused(
    retrieved: Tensor,
    cam: Tensor,
    weight: float = 0.5,
    present: Tensor | None = None,
) -> Tensor:
    """Maps of cache and texts together: ``minmax(weight * retrieved + cam)``.

    Parameters
    ----------
    retrieved : (B, N, K) Tensor
        Of `branches`, equation 11, or of `answered`, equation 13.
    cam : (B, N, K) Tensor
        Similarities of patches to texts, in [0, 1].
    weight : float
        0.5 in the paper; the published code has 0.1 for what an adapter answers.
    present : (B, K) bool Tensor, optional
        Classes that the images show; the maps of others are 0. Without it, the map of
        an absent class reaches 1 somewhere, too.

    Returns
    -------
    (B, N, K) Tensor
        In [0, 1].
    """
    both = min_max(weight * retrieved + cam)
    return both if present is None else both * present[:, None]


def answered(logits: Tensor) -> Tensor:
    """Foreground part (B, N, K) of an adapter's logits (B, N, K + 1), not below 0."""
    return logits[..., 1:].relu()
