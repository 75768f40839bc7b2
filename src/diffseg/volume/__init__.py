"""Volumes: geometry, readers and writers. Toolkits load when a file needs them."""

from diffseg.volume.affine import Affine
from diffseg.volume.atomic import atomic_write, atomic_write_bytes
from diffseg.volume.describe import describe, facts
from diffseg.volume.dicom_series import SeriesInfo, list_series
from diffseg.volume.display import Display
from diffseg.volume.grid import Grid, Reorientation
from diffseg.volume.masks import read_mask
from diffseg.volume.reading import check_readable, read_volume, split_paths
from diffseg.volume.source import Source, stem_of
from diffseg.volume.volume import Volume
from diffseg.volume.writing import write_float, write_mask, write_png

__all__ = [
    "Affine",
    "Display",
    "Grid",
    "Reorientation",
    "SeriesInfo",
    "Source",
    "Volume",
    "atomic_write",
    "atomic_write_bytes",
    "check_readable",
    "describe",
    "facts",
    "list_series",
    "read_mask",
    "read_volume",
    "split_paths",
    "stem_of",
    "write_float",
    "write_mask",
    "write_png",
]
