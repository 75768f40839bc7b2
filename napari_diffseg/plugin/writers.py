"""Masks and maps back on the grid of their image, by *File > Save Selected Layer*."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume import write_float, write_mask
from napari_diffseg.plugin.geometry import Origin, origin_of


def write_labels(path: str, data: Any, keywords: dict[str, Any]) -> list[str]:
    """Write a Labels layer as NIfTI or PNG, on the grid of its image.

    Parameters
    ----------
    path : str
        Ends in ``.nii.gz``, ``.nii`` or ``.png``.
    data : (Z, Y, X) integer array
        As shown; values from 0 to 255.
    keywords : dict
        The layer's; its metadata tell the image.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    UserError
        The layer belongs to no image, holds no label values, or does not fit `path`.
    """
    name = str(keywords.get("name", "labels"))
    labels, origin = _native(name, data, keywords)
    if labels.min() < 0 or labels.max() > 255:
        raise UserError(
            f"layer {name}: values from {labels.min()} to {labels.max()}; a mask "
            "holds labels from 0 to 255"
        )
    if path.lower().endswith(".png") and len(labels) > 1:
        raise UserError(
            f"{path}: a PNG holds one plane, the mask has {len(labels)}; give a name "
            "that ends in .nii.gz"
        )
    one_class = int(labels.max()) <= 1
    written = write_mask(
        path, labels, origin.display.grid, origin.source, one_class=one_class
    )
    return _told(written, origin)


def write_image(path: str, data: Any, keywords: dict[str, Any]) -> list[str]:
    """Write an Image layer as NIfTI of 32-bit floats, on the grid of its image.

    Parameters, results and errors are those of `write_labels`.
    """
    name = str(keywords.get("name", "image"))
    if keywords.get("rgb"):
        raise UserError(f"layer {name}: a colour picture; save it as PNG or TIFF")
    values, origin = _native(name, data, keywords)
    return _told(write_float(path, values, origin.display.grid, origin.source), origin)


def _native(
    name: str, data: Any, keywords: dict[str, Any]
) -> tuple[NDArray[Any], Origin]:
    """A layer's voxels on the source's own axes."""
    if ((keywords.get("metadata") or {}).get("diffseg") or {}).get("role") == "preview":
        raise UserError(f"layer {name}: a preview; apply it, and save the mask")
    shown = np.asarray(data)
    origin = origin_of(name, shown.shape, keywords.get("metadata") or {})
    return origin.display.native_view(shown), origin


def _told(path: Path, origin: Origin) -> list[str]:
    from napari.utils.notifications import show_warning

    if origin.note:
        show_warning(origin.note)
    return [str(path)]
