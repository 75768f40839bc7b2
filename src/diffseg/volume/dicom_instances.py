"""The DICOM images that a volume was read from, one for each of its planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.dicom_series import list_series, stack_of
from diffseg.volume.grid import Grid
from diffseg.volume.quiet import heard, one_line
from diffseg.volume.source import Source

_RAS = np.array([-1.0, -1.0, 1.0])
_NEAR = 0.5
"""Of a voxel: how far an image may lie from its plane, as uneven slices do."""
_COSINE = 1 - 1e-6


def source_instances(source: Source, grid: Grid, frame: int = 0) -> tuple[Any, ...]:
    """Headers of the images that `source` was read from, in the grid's order.

    Parameters
    ----------
    source : Source
        Of a volume that was read from DICOM.
    grid : Grid
        The volume's own.
    frame : int
        Which of several images at each position was read.

    Returns
    -------
    tuple of pydicom.Dataset
        Without pixels: one for each plane, or a single one of many frames.

    Raises
    ------
    UserError
        The source is not DICOM, has changed since, or its images do not lie where
        the grid has its planes.
    """
    where = source.where
    if source.format != "dicom":
        raise UserError(
            f"{where}: not DICOM but {source.format}; open the DICOM series itself"
        )
    headers = tuple(_header(path) for path in _files(source, frame))
    frames = sum(int(header.get("NumberOfFrames", 1) or 1) for header in headers)
    same_size = all(
        (int(header.Rows), int(header.Columns)) == grid.shape[1:] for header in headers
    )
    if frames != grid.shape[0] or not same_size:
        raise UserError(
            f"{where}: the series has changed since it was opened; open it again"
        )
    if len(headers) > 1 and frames != len(headers):
        raise UserError(f"{where}: files of one and of many frames in one series")
    _require_places(headers, grid, where)
    return headers


def plane_geometry(header: Any) -> list[tuple[NDArray[np.float64], NDArray[Any]]]:
    """Position (3,) and cosines (2, 3) in LPS+ mm of each frame; [] if not told."""
    if not header.get("NumberOfFrames") or "PerFrameFunctionalGroupsSequence" not in (
        header
    ):
        planes = [(header, header)] * int(header.get("NumberOfFrames", 1) or 1)
        return _told(planes) if len(planes) == 1 else []
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = [
        (
            _item(group, shared, "PlanePositionSequence"),
            _item(group, shared, "PlaneOrientationSequence"),
        )
        for group in header.PerFrameFunctionalGroupsSequence
    ]
    return _told(groups)


def _item(group: Any, shared: Any, name: str) -> Any:
    found = group.get(name) or (shared.get(name) if shared is not None else None)
    return found[0] if found else {}


def _told(
    planes: Sequence[tuple[Any, Any]],
) -> list[tuple[NDArray[np.float64], NDArray[Any]]]:
    told = []
    for place, turn in planes:
        position = place.get("ImagePositionPatient")
        cosines = turn.get("ImageOrientationPatient")
        if position is None or cosines is None or len(cosines) != 6:
            return []
        told.append(
            (
                np.array(position, np.float64),
                np.reshape(np.array(cosines, np.float64), (2, 3)),
            )
        )
    return told


def _require_places(headers: Sequence[Any], grid: Grid, where: str) -> None:
    """Refuse images that do not lie in their planes: a mask there would be moved."""
    planes = [plane for header in headers for plane in plane_geometry(header)]
    if len(planes) != grid.shape[0]:
        raise UserError(
            f"{where}: the headers do not say where each slice lies in the patient; "
            "export NIfTI or PNG instead"
        )
    back = grid.affine.inverse()
    wanted = grid.affine.direction[:, :2].T
    for k, (position, cosines) in enumerate(planes):
        off = np.abs((back @ (position * _RAS)) - (0, 0, k)).max()
        along = ((cosines * _RAS) * wanted).sum(axis=1)
        if off > _NEAR or along.min() < _COSINE * np.linalg.norm(cosines, axis=1).max():
            raise UserError(
                f"{where}: slice {k} does not lie in plane {k} of the volume; "
                "export NIfTI instead"
            )


def _files(source: Source, frame: int) -> tuple[str, ...]:
    place = Path(source.paths[0])
    if place.is_file():
        return (str(place),)
    found = [info for info in list_series(place) if info.uid == source.series_uid]
    if not found:
        raise UserError(f"{source.where}: the series is gone; put it back or reopen it")
    if len(found[0].files) == 1:
        return found[0].files
    with heard():
        frames = stack_of(found[0], source.where).frames
    if not 0 <= frame < len(frames):
        raise UserError(
            f"{source.where}: frame {frame} is not among its {len(frames)}",
            option="--frame",
        )
    return frames[frame]


def _header(path: str) -> Any:
    from pydicom import dcmread

    try:
        with heard():
            return dcmread(path, stop_before_pixels=True)
    except Exception as err:
        raise UserError(f"{path}: not readable as DICOM ({one_line(err, 80)})") from err
