"""Mean features of images inside masks, wherever the images are from (DiCLIP, eq. 8).

Images that were generated, that the user labelled, or that were corrected: each gives
one feature for every class that it shows, and one for the rest of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffseg.segmenters.text.cache import CachedImage
from diffseg.segmenters.text.cache_values import Floats


@dataclass(frozen=True, slots=True, eq=False)
class MaskedMeans:
    """Mean features of images inside their masks, class by class.

    Parameters
    ----------
    features : (F, E) float32 ndarray
    classes : (F,) int64 ndarray
        0 background, 1 to K the foreground classes.
    images : tuple of F CachedImage
        Where each is from.
    empty : tuple of K + 1 int
        Masks of background and of each class that held no patch, and were skipped.
    """

    features: Floats
    classes: NDArray[np.int64]
    images: tuple[CachedImage, ...]
    empty: tuple[int, ...]

    def __add__(self, other: MaskedMeans) -> MaskedMeans:
        """Those of both, in order."""
        return MaskedMeans(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.classes, other.classes]),
            self.images + other.images,
            tuple(a + b for a, b in zip(self.empty, other.empty, strict=True)),
        )


def masks_on_grid(
    masks: Tensor, grid: tuple[int, int], share: float | None = None
) -> Tensor:
    """Masks of pixels as masks of patches, row by row.

    Parameters
    ----------
    masks : (B, K, Y, X) bool Tensor
    grid : (y, x)
        Patches.
    share : float, optional
        A patch is inside whose pixels are inside by this share or more. None: by the
        pixel in its middle, as published; what is smaller than a patch may be lost.

    Returns
    -------
    (B, K, N) bool Tensor
    """
    pixels = masks.float()
    if share is None:
        coarse = functional.interpolate(pixels, grid, mode="nearest-exact")
    else:
        coarse = functional.adaptive_avg_pool2d(pixels, grid)
    limit = 0.5 if share is None else share - 1e-6  # 1e-6: the rounding of a mean
    return (coarse >= limit).flatten(2)


def masked_means(
    features: Tensor,
    masks: Tensor,
    images: Sequence[CachedImage],
    *,
    present: Tensor | None = None,
    known: Tensor | None = None,
) -> MaskedMeans:
    """Mean feature of each class in each image, and of its background: equation 8.

    Parameters
    ----------
    features : (B, N, E) Tensor
        Of patches, normalised as the cache is; see
        `diffseg.networks.cache_adapter.normalised`.
    masks : (B, K, N) bool Tensor
        Patches of each foreground class.
    images : sequence of B CachedImage
    present : (B, K) bool Tensor, optional
        Classes that the images are said to show; masks of others are taken for
        background, and none is missed. Without it every class is looked for in every
        image.
    known : (B, N) bool Tensor, optional
        Patches that count at all; the background, too, is of these alone.

    Returns
    -------
    MaskedMeans
        Image by image, background first. Masks without a patch are skipped and counted.

    Raises
    ------
    ValueError
        The shapes do not fit each other.
    """
    count = masks.shape[1]
    if masks.shape != (len(features), count, features.shape[1]):
        raise ValueError(f"masks {masks.shape} for features {features.shape}")
    if len(images) != len(features):
        raise ValueError(f"{len(images)} images for {len(features)} features")
    shown = masks.new_ones(masks.shape[:2]) if present is None else present
    inside = masks & shown[..., None]
    rest = ~inside.any(1, keepdim=True)
    every = torch.cat([rest, inside], dim=1)
    if known is not None:
        every = every & known[:, None]
    weights = every.float()
    sizes = weights.sum(-1)
    means = (weights @ features.float()) / sizes.clamp_min(1)[..., None]
    wanted = torch.cat([shown.new_ones(len(shown), 1), shown], dim=1)
    found = (wanted & (sizes > 0)).cpu().numpy()
    missed = (wanted & (sizes == 0)).sum(0).tolist()
    which, classes = np.nonzero(found)
    return MaskedMeans(
        means.cpu().numpy()[found],
        classes.astype(np.int64),
        tuple(images[int(index)] for index in which),
        tuple(missed),
    )
