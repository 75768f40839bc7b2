"""Images and masks as napari's layers, by *File > Open* and by drag and drop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffseg.errors import UserError
from diffseg.volume import Display, Volume, list_series, read_mask, stem_of
from diffseg.volume.dicom import holds_dicom
from diffseg.volume.source import RASTER_SUFFIXES
from diffseg.volume.windows import auto_window
from napari_diffseg.plugin.geometry import layer_keywords

LayerData = tuple[Any, dict[str, Any], str]
PathOrPaths = str | Sequence[str]

MASK_ENDING = "_mask"
"""Ending of a file's stem that makes it a mask."""


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """Give the reader of `path`, or None where it is nothing for us.

    Parameters
    ----------
    path : str or sequence of str
        A file, or a folder of DICOM files or numbered slices. Several paths are
        a stack of napari's, which its own reader knows.
    """
    if not isinstance(path, str):
        return None
    place = Path(path)
    if place.is_dir() and not (holds_dicom(path) or _holds_pictures(place)):
        return None
    return read_layers


def read_layers(path: PathOrPaths) -> list[LayerData]:
    """Read an image, or a mask where the name ends in ``_mask``.

    Returns
    -------
    list of (data, keywords, type)
        One layer, or one for each channel. Data are (plane, row, column) as shown,
        a view of the source's voxels turned to radiological habit; scale and
        translate are in mm, or pixels where the image has no millimetres.

    Raises
    ------
    UserError
        It cannot be read, or holds several DICOM series.
    """
    name = path if isinstance(path, str) else ";".join(path)
    volume = Volume.read(name, series=_only_series(name))
    say(volume.warnings)
    if stem_of(name).endswith(MASK_ENDING):
        display = Display.of(volume.grid)
        keywords = layer_keywords(volume, display)
        return [(display.view(read_mask(name)), keywords, "labels")]
    return image_layers(volume)


def image_layers(volume: Volume) -> list[LayerData]:
    """The layers of a volume: one for each channel, or one in colour."""
    display = Display.of(volume.grid)
    keywords = layer_keywords(volume, display)
    voxels = volume.data
    if volume.source.is_raster and len(voxels) in (3, 4) and voxels.dtype == np.uint8:
        colours = np.moveaxis(display.view(voxels), 0, -1)
        return [(colours, {**keywords, "rgb": True}, "image")]
    layers: list[LayerData] = []
    for number, one in enumerate(voxels, start=1):
        window = auto_window(one)
        own = {**keywords, "contrast_limits": (window.low, window.high)}
        if number > 1:
            own |= {"name": f"{volume.name} [channel {number}]", "visible": False}
        layers.append((display.view(one), own, "image"))
    return layers


def say(warnings: Sequence[str]) -> None:
    """Show what a reader had to decide."""
    from napari.utils.notifications import show_warning

    for line in warnings:
        show_warning(line)


def _only_series(path: str) -> str | None:
    """The DICOM series of a folder, None for anything else."""
    if not Path(path).is_dir() or not holds_dicom(path):
        return None
    found = list_series(path)
    if len(found) > 1:
        raise UserError(
            f"{path}: holds {len(found)} DICOM series; open it in the panel DiffSeg "
            "(Case, Open), which asks which one"
        )
    return found[0].uid if found else None


def _holds_pictures(folder: Path) -> bool:
    return any(one.suffix.lower() in RASTER_SUFFIXES for one in folder.iterdir())
