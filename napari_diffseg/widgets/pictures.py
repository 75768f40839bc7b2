"""Slices as pictures: intensities, labels and doubt as Qt images, by NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QImage

from diffseg.domain import LabelTable
from napari_diffseg.layers.colours import CONTOUR_COLORS, DOUBT

_UNNAMED = (208, 208, 208)
_HEAT_INK = 0.75


@dataclass(frozen=True, slots=True)
class Look:
    """How slices are shown.

    Parameters
    ----------
    low, high : float
        Intensities shown black and white.
    radiological : bool
        Patient's right on the left of the screen.
    outline : bool
        The mask as an outline, else filled.
    opacity : float
        Of the mask, in [0, 1].
    hidden : bool
        Nothing is laid on the image.
    uncertainty : bool
        Doubt is laid on the image, below the mask.
    contours : bool
        Lines around what members see take the mask's place.
    """

    low: float = 0.0
    high: float = 1.0
    radiological: bool = True
    outline: bool = False
    opacity: float = 0.5
    hidden: bool = False
    uncertainty: bool = False
    contours: bool = False


def grey_image(values: NDArray[Any], low: float, high: float) -> QImage:
    """Picture of (rows, columns) intensities; what is not a number is black."""
    grey = values.astype(np.float32)
    grey -= low
    grey *= 255.0 / max(high - low, 1e-12)
    np.clip(grey, 0.0, 255.0, out=grey)
    if values.dtype.kind == "f":
        np.nan_to_num(grey, copy=False, nan=0.0)
    return _owned(grey.astype(np.uint8), QImage.Format.Format_Grayscale8)


def stretched(
    values: NDArray[Any], height: int, width: int, mirrored: bool = False
) -> NDArray[Any]:
    """(height, width) of the nearest entries of (rows, columns)."""
    rows = _nearest(values.shape[0], height)
    columns = _nearest(values.shape[1], width)
    if mirrored:
        columns = columns[::-1]
    return values[rows][:, columns]


def mask_image(labels: NDArray[np.uint8], colors: NDArray[np.uint32]) -> QImage:
    """Picture of (height, width) labels, filled."""
    return _owned(np.take(colors, labels), QImage.Format.Format_ARGB32_Premultiplied)


def outlined(labels: NDArray[np.uint8], thickness: int) -> NDArray[np.uint8]:
    """(height, width) labels, kept only within `thickness` pixels of another one."""
    edge = np.zeros(labels.shape, np.bool_)
    for step in range(1, thickness + 1):
        down = labels[step:] != labels[:-step]
        edge[step:] |= down
        edge[:-step] |= down
        across = labels[:, step:] != labels[:, :-step]
        edge[:, step:] |= across
        edge[:, :-step] |= across
    return np.where(edge, labels, np.uint8(0))


def doubt_image(doubt: NDArray[np.float32]) -> QImage:
    """Picture of (height, width) uncertainty in [0, 1]; clear where there is none."""
    levels = (np.clip(np.nan_to_num(doubt), 0.0, 1.0) * 255.0).astype(np.uint8)
    return _owned(
        np.take(_HEAT_TABLE, levels), QImage.Format.Format_ARGB32_Premultiplied
    )


def label_colors(table: LabelTable, opacity: float) -> NDArray[np.uint32]:
    """(256,) premultiplied colours of label values; 0, the background, is clear."""
    rgb = np.tile(np.array(_UNNAMED, np.float64), (256, 1))
    for label in table.each():
        rgb[label.value] = _channels(label.color)
    alpha = np.full(256, min(max(opacity, 0.0), 1.0))
    alpha[0] = 0.0
    return _premultiplied(rgb, alpha)


def _channels(color: str) -> tuple[int, int, int]:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def _premultiplied(
    rgb: NDArray[np.float64], alpha: NDArray[np.float64]
) -> NDArray[np.uint32]:
    parts = np.rint(np.column_stack([alpha * 255, rgb * alpha[:, None]]))
    a, r, g, b = parts.astype(np.uint32).T
    packed: NDArray[np.uint32] = (a << 24) | (r << 16) | (g << 8) | b
    return packed


def _heat_table(stops: Iterable[Sequence[float]]) -> NDArray[np.uint32]:
    known = np.array(list(stops), np.float64)
    at = np.linspace(0, len(known) - 1, 256)
    rgb = np.column_stack(
        [np.interp(at, range(len(known)), channel) for channel in known.T]
    )
    # Ink grows faster than doubt, so that little doubt shows, and none is clear.
    return _premultiplied(rgb, _HEAT_INK * np.linspace(0, 1, 256) ** 0.7)


def contour_colors() -> NDArray[np.uint32]:
    """(256,) colours of the levels of lines; 0 is clear."""
    rgb, alpha = np.zeros((256, 3)), np.zeros(256)
    for level, color in enumerate(CONTOUR_COLORS, start=1):
        rgb[level], alpha[level] = _channels(color), 1.0
    return _premultiplied(rgb, alpha)


_HEAT_TABLE = _heat_table([[255 * part for part in color] for color in DOUBT])


def _nearest(size: int, length: int) -> NDArray[np.intp]:
    return ((np.arange(length) + 0.5) * (size / length)).astype(np.intp)


def _owned(pixels: NDArray[Any], form: QImage.Format) -> QImage:
    """Image that keeps its own pixels: the array may go."""
    dense = np.ascontiguousarray(pixels)
    height, width = dense.shape
    return QImage(dense.tobytes(), width, height, dense.strides[0], form).copy()
