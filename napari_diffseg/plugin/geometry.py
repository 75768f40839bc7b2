"""A layer's place: what its metadata keep of the source's grid, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffseg.errors import DiffsegError, UserError
from diffseg.volume import Affine, Display, Grid, Source, Volume
from napari_diffseg.layers.making import AXES, KEY


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where a layer's voxels belong.

    Parameters
    ----------
    display : Display
        From the source's grid to the layer's.
    source : Source
        Whose header a file is written with.
    note : str
        What was lost of that header, or "".
    """

    display: Display
    source: Source
    note: str = ""


def layer_keywords(volume: Volume, display: Display) -> dict[str, Any]:
    """Keywords of a layer that shows `volume`, with all that leads back to it."""
    return {
        "name": volume.name,
        "scale": display.scale,
        "translate": display.translate,
        "units": (display.unit,) * 3,
        "axis_labels": AXES,
        "metadata": {KEY: provenance(volume)},
    }


def provenance(volume: Volume) -> dict[str, Any]:
    """What a layer's metadata keep of `volume`: plain values, for JSON too."""
    grid = volume.grid
    return {
        "source": ";".join(volume.source.paths),
        "series": volume.source.series_uid,
        "shape": list(grid.shape),
        "affine": grid.affine.matrix.tolist() if grid.has_spacing else None,
        "sides": grid.has_sides,
    }


def origin_of(name: str, shape: tuple[int, ...], metadata: Mapping[str, Any]) -> Origin:
    """Where the voxels of a layer belong.

    Parameters
    ----------
    name : str
        The layer's, for messages.
    shape : tuple of int
        Of the layer's data, as shown.
    metadata : mapping
        The layer's.

    Raises
    ------
    UserError
        The layer does not say what it was drawn on, or was cut since.
    """
    kept = metadata.get(KEY) or {}
    if "shape" not in kept:
        raise UserError(
            f"layer {name}: it does not say which image it belongs to, so its voxels "
            "have no place; draw on the mask of a case in the panel DiffSeg and use "
            "Export there, which asks for a spacing where the image has none"
        )
    grid = _grid_of(kept)
    display = Display.of(grid)
    if tuple(shape) != display.shown.shape:
        raise UserError(
            f"layer {name}: {_extent(shape)} voxels do not fit its image of "
            f"{_extent(display.shown.shape)}; export the mask of the case instead"
        )
    try:
        volume = Volume.read(kept["source"], series=kept.get("series"))
        if not volume.grid.same_as(grid):
            raise UserError(f"{kept['source']}: has changed since it was opened")
    except DiffsegError as error:
        lost = f"{error}; the mask is written with a plain header on the same grid"
        return Origin(display, _plain_source(name, grid), lost)
    return Origin(display, volume.source)


def _grid_of(kept: Mapping[str, Any]) -> Grid:
    z, y, x = (int(extent) for extent in kept["shape"])
    matrix = kept.get("affine")
    known = matrix is not None
    affine = Affine(np.asarray(matrix, float)) if known else Affine.identity()
    sides = bool(kept.get("sides", True))
    return Grid((z, y, x), affine, has_spacing=known, has_sides=sides)


def _plain_source(name: str, grid: Grid) -> Source:
    return Volume.from_array(
        np.zeros(grid.shape, np.uint8), grid.affine if grid.has_spacing else None, name
    ).source


def _extent(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
