"""Small pictures of the images behind a cache's keys, for a person to judge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffseg.segmenters.text.cache import CachedImage, Pictures
from diffseg.segmenters.text.cache_values import Floats

SIDE = 48
"""Pixels along the longer side: enough to tell a lesion from a hair."""


def thumbnail(plane: Floats, side: int = SIDE) -> NDArray[np.uint8]:
    """Return a small picture of a slice.

    Parameters
    ----------
    plane : (C, Y, X) float32 ndarray
        In [0, 1], as a model is shown it; of other than three channels the mean.
    side : int
        Pixels along the longer side; a smaller slice stays as it is.

    Returns
    -------
    (Y, X) or (Y, X, 3) uint8 ndarray
    """
    from PIL import Image

    shown = plane if len(plane) == 3 else plane.mean(axis=0, keepdims=True)
    pixels = np.round(np.clip(np.nan_to_num(shown), 0, 1) * 255).astype(np.uint8)
    pixels = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    rows, columns = pixels.shape[:2]
    scale = min(1.0, side / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        size, Image.Resampling.BOX
    )
    return np.array(small, np.uint8)


def pictured(
    images: Sequence[CachedImage], planes: Sequence[Floats]
) -> tuple[tuple[CachedImage, ...], Pictures]:
    """Give images their thumbnails.

    A picture is named by what it shows: an image that goes into several keys is kept
    once.

    Parameters
    ----------
    images : sequence of B CachedImage
    planes : sequence of B (C, Y, X) float32 ndarray
        What each shows, in [0, 1].

    Returns
    -------
    images : tuple of B CachedImage
        With the names of their thumbnails.
    pictures : mapping of str to uint8 ndarray
        For `cache_building.build_cache` and `grown`.
    """
    named: list[CachedImage] = []
    pictures: dict[str, NDArray[np.uint8]] = {}
    for image, plane in zip(images, planes, strict=True):
        small = thumbnail(plane)
        told = f"{small.shape}".encode() + small.tobytes()
        name = hashlib.sha256(told).hexdigest()[:16]
        pictures[name] = small
        named.append(replace(image, thumbnail=name))
    return tuple(named), pictures
