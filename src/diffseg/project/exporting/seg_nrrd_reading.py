"""3D Slicer's ``.seg.nrrd`` to a mask and its labels, on an image's grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, LabelTable
from diffseg.errors import UserError
from diffseg.project.exporting.coding import code_of
from diffseg.project.exporting.label_tables import distinct
from diffseg.volume import Affine, Grid
from diffseg.volume.itk import affine_of, channels_first, open_header, read_pixels
from diffseg.volume.nifti import NotRecognisedError

_MOST = 255
_NEAR = 0.01  # of a voxel
_ENTRY = "TerminologyEntry"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment as the header tells it: where its voxels are, and what it is."""

    name: str
    layer: int
    value: int
    color: str | None
    code: str | None


def read_seg_nrrd(
    path: str | Path, like: Grid | None = None
) -> tuple[NDArray[np.uint8], LabelTable, Grid]:
    """Read the segments of a file that Slicer, or an export of ours, wrote.

    Slicer crops what it writes to the segments: with `like` the mask is put back into
    the image's grid.

    Parameters
    ----------
    path : path
    like : Grid, optional
        The image's; its voxels must be those of the file.

    Returns
    -------
    mask : (Z, Y, X) uint8 ndarray
    labels : LabelTable
        In the file's order. Values are the file's own; where layers use one value
        twice, as Slicer does, they count from 1.
    grid : Grid
        `like`, or the file's own.

    Raises
    ------
    UserError
        No segments, segments that overlap, or another grid than the image's.
    """
    where = str(path)
    try:
        reader = open_header(where)
    except NotRecognisedError as err:
        raise UserError(f"{where}: not readable as NRRD ({err})") from err
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    dims = reader.GetDimension()
    if dims != 3:
        raise UserError(f"{where}: {dims} dimensions; a segmentation has three")
    segments = _segments(header, where)
    layers = channels_first(read_pixels(where), dims)
    own = Grid(layers.shape[1:], affine_of(reader, where))
    table = _table(segments)
    mask = _merged(layers, segments, table, where)
    if like is None:
        return mask, table, own
    return _placed(mask, own, like, where), table, like


def _segments(header: dict[str, str], where: str) -> list[Segment]:
    count = 0
    while f"Segment{count}_ID" in header or f"Segment{count}_Name" in header:
        count += 1
    if not count:
        raise UserError(
            f"{where}: its header tells of no segments; read it as a mask instead"
        )
    if count > _MOST:
        raise UserError(f"{where}: {count} segments; a mask holds {_MOST} at most")
    return [_segment(header, f"Segment{index}_", where) for index in range(count)]


def _segment(header: dict[str, str], prefix: str, where: str) -> Segment:
    name = header.get(f"{prefix}Name") or header.get(f"{prefix}ID") or prefix[:-1]
    place = int(prefix[len("Segment") : -1])
    try:
        # Files of before 2020 hold a layer for each segment, and do not say so.
        layer = int(header.get(f"{prefix}Layer") or place)
        value = int(header.get(f"{prefix}LabelValue") or 1)
        parts = [float(one) for one in (header.get(f"{prefix}Color") or "").split()]
    except ValueError:
        raise UserError(
            f"{where}: the header of segment {name!r} holds text where numbers belong"
        ) from None
    color = None
    if len(parts) == 3:
        shades = (round(min(max(part, 0.0), 1.0) * 255) for part in parts)
        color = "#" + "".join(f"{shade:02X}" for shade in shades)
    return Segment(name, layer, value, color, _code(header.get(f"{prefix}Tags", "")))


def _code(tags: str) -> str | None:
    """The type's code of a terminology entry."""
    for tag in tags.split("|"):
        key, _, entry = tag.partition(":")
        parts = entry.split("~")
        if key == _ENTRY and len(parts) > 2:
            scheme, value, *_ = (*parts[2].split("^"), "", "")
            return code_of(scheme, value)
    return None


def _table(segments: list[Segment]) -> LabelTable:
    values = [segment.value for segment in segments]
    own = len(set(values)) == len(values) and all(1 <= v <= _MOST for v in values)
    names = distinct(segment.name for segment in segments)
    labels = []
    for index, (name, segment) in enumerate(zip(names, segments, strict=True)):
        given: dict[str, Any] = {"name": name, "code": segment.code}
        given["value"] = segment.value if own else index + 1
        if segment.color is not None:
            given["color"] = segment.color
        labels.append(Label(**given))
    return LabelTable(labels=tuple(labels))


def _merged(
    layers: NDArray[Any], segments: list[Segment], table: LabelTable, where: str
) -> NDArray[np.uint8]:
    mask = np.zeros(layers.shape[1:], np.uint8)
    for segment, label in zip(segments, table.each(), strict=True):
        if not 0 <= segment.layer < len(layers):
            raise UserError(
                f"{where}: segment {segment.name!r} lies in layer {segment.layer}, and "
                f"the file has {len(layers)}; save it again"
            )
        inside = layers[segment.layer] == segment.value
        taken = mask[inside & (mask > 0)]
        if taken.size:
            other = table.names[table.values.index(int(taken[0]))]
            raise UserError(
                f"{where}: segments {other!r} and {label.name!r} overlap in "
                f"{taken.size} voxels, and a mask holds one label at a voxel; remove "
                "the overlap in Slicer"
            )
        mask[inside] = label.value
    return mask


def _placed(
    mask: NDArray[np.uint8], own: Grid, like: Grid, where: str
) -> NDArray[np.uint8]:
    """Put a mask on a part of the grid `like`, or beyond it, into the whole."""
    between = Affine(like.affine.inverse().matrix @ own.affine.matrix).matrix
    steps = between[:3, 3]
    start = np.rint(steps).astype(int)
    drift = np.abs(between[:3, :3] - np.eye(3)).max() * max(own.shape)
    if drift > _NEAR * max(own.shape) or np.abs(steps - start).max() > 5 * _NEAR:
        raise UserError(
            f"{where}: its voxels are not those of the image; resample it to the "
            "image in Slicer (Segmentations, Export to labelmap with a reference)"
        )
    whole = np.zeros(like.shape, np.uint8)
    there, here = [], []
    for at, extent, total in zip(start[::-1], own.shape, like.shape, strict=True):
        first, last = max(at, 0), max(min(at + extent, total), max(at, 0))
        there.append(slice(first, last))
        here.append(slice(first - at, last - at))
    whole[tuple(there)] = mask[tuple(here)]
    if np.count_nonzero(whole) != np.count_nonzero(mask):
        raise UserError(
            f"{where}: some of it lies outside the image; give the image that it was "
            "made on"
        )
    return whole
