"""Masks come in as volumes do, and must hold label values on the image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.reading import read_volume
from diffseg.volume.volume import PathOrPaths, Volume


def read_mask(
    path: PathOrPaths,
    like: Volume | None = None,
    classes: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Read a mask of label values, 0 for background.

    Parameters
    ----------
    path : path
        Any format that a volume can have; a picture may hold 0/255 for one class.
    like : Volume, optional
        The image that the mask must lie on.
    classes : sequence of int, optional
        The label values that may occur besides 0.

    Returns
    -------
    (Z, Y, X) uint8 ndarray

    Raises
    ------
    UserError
        Another grid, several channels, or values that are no labels.
    """
    volume = read_volume(path)
    where = volume.source.where
    if like is not None and not like.grid.same_as(volume.grid):
        raise UserError(
            f"{where}: mask and image {like.source.where} lie on different grids "
            f"({volume.shape} and {like.shape}); resample the mask to the image"
        )
    if volume.channels != 1:
        raise UserError(f"{where}: a mask of {volume.channels} channels; save one")
    labels = _as_labels(volume.data[0], where)
    present = [int(value) for value in np.unique(labels) if value]
    only = (classes[0] if classes else 1) if _is_one_class(classes) else None
    picture = volume.source.is_raster
    if picture and present == [255] and only is not None:
        return np.where(labels == 255, np.uint8(only), np.uint8(0))
    unknown = [value for value in present if classes and value not in classes]
    if unknown:
        known = ", ".join(str(value) for value in classes or ())
        raise UserError(
            f"{where}: mask values {unknown} are not labels; known: {known}"
        )
    return labels


def _is_one_class(classes: Sequence[int] | None) -> bool:
    return classes is None or len(classes) == 1


def _as_labels(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{where}: a mask with NaN or Inf; save whole numbers 0 to 255")
    rounded = np.rint(values) if values.dtype.kind == "f" else values
    off = np.abs(values - rounded).max() > 1e-3 if values.dtype.kind == "f" else False
    if off or rounded.min() < 0 or rounded.max() > 255:
        raise UserError(
            f"{where}: mask values from {values.min():g} to {values.max():g} are not "
            "whole numbers from 0 to 255; save label values"
        )
    return rounded.astype(np.uint8)
