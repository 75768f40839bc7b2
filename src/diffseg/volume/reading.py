"""Which reader a path goes to; several paths are the channels of one image."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from diffseg.errors import UserError
from diffseg.volume.dicom import holds_dicom, is_dicom, read_dicom, read_dicom_folder
from diffseg.volume.itk import read_itk
from diffseg.volume.nifti import NotRecognisedError, damaged, read_nibabel
from diffseg.volume.raster import read_raster, read_slices
from diffseg.volume.source import (
    DICOM_SUFFIXES,
    NIBABEL_SUFFIXES,
    PACKED_SUFFIXES,
    RASTER_SUFFIXES,
    image_suffix,
)
from diffseg.volume.volume import Loader, PathOrPaths, Volume, Voxels


def split_paths(path: PathOrPaths) -> tuple[str, ...]:
    """Return the paths of an image's channels: a sequence, or one joined by ``;``."""
    if isinstance(path, (str, PathLike)):
        text = fspath(path)
        # A name that holds a semicolon and exists is that one file.
        parts = [text] if Path(text).exists() else text.split(";")
    else:
        parts = [fspath(part) for part in path]
    names = tuple(part.strip() for part in parts if part.strip())
    if not names:
        raise UserError("no image is given; give the path of a file or folder")
    return names


def read_volume(
    path: PathOrPaths,
    frame: int | None = None,
    series: str | None = None,
) -> Volume:
    """Open an image; see `diffseg.volume.Volume.read`."""
    volumes = [_read_one(name, frame, series) for name in split_paths(path)]
    return volumes[0] if len(volumes) == 1 else _as_channels(volumes)


def check_readable(volume: Volume, keep: bool = False) -> Volume:
    """Load every voxel once, and return the volume with what that taught.

    Parameters
    ----------
    volume : Volume
        A volume that was just opened.
    keep : bool
        Keep the voxels, as one more use of them is near.

    Raises
    ------
    UserError
        The file is truncated or corrupt.
    """
    trial = volume if keep or volume.is_loaded else replace(volume, _cache=[])
    _ = trial.data
    notes = [note for name in volume.source.paths for note in _packing_notes(name)]
    return volume.with_warnings(*notes) if notes else volume


def _read_one(path: str, frame: int | None, series: str | None) -> Volume:
    place = Path(path)
    try:
        if not place.exists():
            raise UserError(f"{path}: no such file or folder; check the path")
        if place.is_dir():
            volume = _read_folder(path, frame, series)
        elif place.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty; copy or export it again")
        else:
            volume = _read_file(path, frame, series)
    except OSError as err:
        raise UserError(f"{path}: {err.strerror or err}; check the file") from err
    if series is not None and volume.source.format != "dicom":
        raise UserError(f"{path}: not DICOM, it has no series; leave --series out")
    return volume


def _read_folder(path: str, frame: int | None, series: str | None) -> Volume:
    if holds_dicom(path):
        return read_dicom_folder(path, frame, series)
    return read_slices(path, frame)


def _read_file(path: str, frame: int | None, series: str | None) -> Volume:
    suffix = image_suffix(path)
    packed = Path(path).suffix.lower() in PACKED_SUFFIXES
    if packed and suffix and suffix not in NIBABEL_SUFFIXES:
        raise UserError(f"{path}: a packed {suffix[1:]} file; unpack it first (gunzip)")
    if suffix in RASTER_SUFFIXES:
        return read_raster(path, frame)
    if suffix in DICOM_SUFFIXES or is_dicom(path):
        return read_dicom(path, frame, series)
    if suffix in NIBABEL_SUFFIXES:
        return _read_nibabel_or_itk(path, frame)
    try:
        return read_itk(path, frame)
    except NotRecognisedError as err:
        raise _unknown(path, err) from err


def _read_nibabel_or_itk(path: str, frame: int | None) -> Volume:
    try:
        return read_nibabel(path, frame)
    except NotRecognisedError as first:
        try:
            volume = read_itk(path, frame)
        except NotRecognisedError:
            raise _unknown(path, first) from first
        return volume.with_warnings(
            "nibabel cannot open this file, its header is damaged: ITK's reading of "
            "it is taken; check orientation and values"
        )


def _unknown(path: str, err: Exception) -> UserError:
    return UserError(
        f"{path}: not an image that can be read ({err}); give NIfTI, DICOM, NRRD, "
        "MetaImage, MGH, PNG, JPEG, BMP or TIFF"
    )


def _as_channels(volumes: Sequence[Volume]) -> Volume:
    first = volumes[0]
    for other in volumes[1:]:
        if not first.grid.same_as(other.grid):
            raise UserError(
                f"{other.source.where} is not on the grid of {first.source.where}; "
                "channels of one image need one grid: resample it first"
            )
    loaders: tuple[Loader, ...] = tuple(volume.loader for volume in volumes)
    paths = tuple(path for volume in volumes for path in volume.source.paths)
    notes = dict.fromkeys(note for volume in volumes for note in volume.warnings)
    source = replace(first.source, paths=paths)
    return Volume(partial(_joined, loaders), first.grid, source, tuple(notes))


def _joined(loaders: tuple[Loader, ...]) -> Voxels:
    return np.concatenate([load() for load in loaders])


def _packing_notes(path: str) -> list[str]:
    """Read a gz to its end: its checksum tells of damage that voxels hide."""
    if not path.lower().endswith(".gz") or not Path(path).is_file():
        return []
    try:
        with gzip.open(path) as handle:
            while handle.read(1 << 22):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ["the gz checksum does not match: some voxels may be damaged"]
    except OSError as err:
        raise damaged(path, err) from err
    return []
