"""What ``diffseg info`` prints."""

from __future__ import annotations

from typing import Any

from diffseg.volume.reading import check_readable, read_volume
from diffseg.volume.volume import PathOrPaths, Volume


def describe(path: PathOrPaths, series: str | None = None) -> dict[str, Any]:
    """Describe an image; what is unknown is None. The voxels are read once.

    Returns
    -------
    dict
        ``shape``, ``spacing_mm`` and ``orientation`` in the file's own axis
        order, ``affine`` from those voxels to RAS+ mm, ``units``, ``dtype``,
        ``modality``, ``source_format``, ``warnings``; ready for JSON.

    Raises
    ------
    UserError
        The image cannot be read.
    """
    return facts(check_readable(read_volume(path, series=series)))


def facts(volume: Volume) -> dict[str, Any]:
    """Return the description of a volume that is already open."""
    source, grid = volume.source, volume.grid
    affine = source.affine
    return {
        "shape": [int(extent) for extent in source.shape],
        "spacing_mm": list(grid.affine.spacing) if grid.has_spacing else None,
        "orientation": affine.orientation if affine is not None else None,
        "affine": affine.matrix.tolist() if affine is not None else None,
        "units": source.units,
        "dtype": source.dtype,
        "modality": source.modality,
        "source_format": source.format,
        "warnings": list(volume.warnings),
    }
