"""Which files of a folder make a DICOM series, and in which order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.quiet import heard

_MAGIC_AT = 128
_TAGS = [
    "SeriesInstanceUID", "SeriesDescription", "Modality", "Rows", "Columns",
    "ImagePositionPatient", "ImageOrientationPatient", "PatientOrientation",
    "InstanceNumber", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "AcquisitionNumber", "SOPInstanceUID", "SOPClassUID", "NumberOfFrames",
    "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "BitsAllocated", "PixelRepresentation", "SamplesPerPixel",
]  # fmt: skip
_SAME_PLACE_MM = 1e-3
_UNEVEN_SHARE = 0.01
_TILT_COSINE = float(np.cos(np.radians(0.5)))


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One series of a folder.

    Parameters
    ----------
    uid : str
        SeriesInstanceUID, what ``--series`` takes.
    description, modality : str or None
        As the header has them.
    n_slices : int
        Number of images.
    files : tuple of str
        Their paths, by name.
    """

    uid: str
    description: str | None
    modality: str | None
    n_slices: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Files of a series in order: ``frames[t][z]``, headers of frame 0.

    `step_lps` is the (3,) way in mm from one plane to the next, None where the
    headers give no positions.
    """

    frames: tuple[tuple[str, ...], ...]
    headers: tuple[Any, ...]
    step_lps: NDArray[np.float64] | None
    notes: tuple[str, ...]


def is_dicom(path: str | Path) -> bool:
    """Whether a file carries DICOM's magic word behind its preamble."""
    try:
        with open(path, "rb") as handle:
            handle.seek(_MAGIC_AT)
            return handle.read(4) == b"DICM"
    except OSError:
        return False


def has_pixels(header: Any) -> bool:
    """Whether a header describes an image matrix."""
    return bool(header.get("Rows")) and bool(header.get("Columns"))


def list_series(folder: str | Path) -> list[SeriesInfo]:
    """Find the image series at or below a folder, in order of their UIDs."""
    groups: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    with heard():
        for path in sorted(Path(folder).rglob("*")):
            header = _header(path)
            if header is not None and has_pixels(header):
                uid = str(header.get("SeriesInstanceUID", ""))
                groups[uid].append((str(path), header))
    return [
        SeriesInfo(
            uid=uid,
            description=str(rows[0][1].get("SeriesDescription", "") or "") or None,
            modality=str(rows[0][1].get("Modality", "") or "") or None,
            n_slices=len(rows),
            files=tuple(path for path, _ in rows),
        )
        for uid, rows in sorted(groups.items())
    ]


def stack_of(info: SeriesInfo, folder: str) -> Stack:
    """Order a series along its normal; several images at one place are frames.

    Raises
    ------
    UserError
        Sizes or orientations differ, positions repeat unevenly, or a file
        holds several frames by itself.
    """
    rows = _distinct([(path, _header(Path(path))) for path in info.files])
    _require_alike(rows, folder)
    if any(header.get("ImagePositionPatient") is None for _, header in rows):
        ordered = sorted(rows, key=lambda row: _number(row[1], "InstanceNumber"))
        note = "no slice positions in the headers: ordered by instance number"
        paths = tuple(path for path, _ in ordered)
        return Stack((paths,), tuple(header for _, header in ordered), None, (note,))
    places = _by_place(rows, folder)
    frames = tuple(
        tuple(place[t][0] for place in places) for t in range(len(places[0]))
    )
    headers = tuple(place[0][1] for place in places)
    step, notes = _step(headers)
    return Stack(frames, headers, step, notes)


def _header(path: Path) -> Any:
    from pydicom import dcmread

    if not path.is_file() or not is_dicom(path):
        return None
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except Exception:
        return None  # a stray file beside the series is not the series' fault


def _distinct(rows: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Drop copies of one and the same image."""
    seen: dict[str, tuple[str, Any]] = {}
    for path, header in rows:
        seen.setdefault(str(header.get("SOPInstanceUID") or path), (path, header))
    return list(seen.values())


def _require_alike(rows: list[tuple[str, Any]], folder: str) -> None:
    sizes = {(int(h.Rows), int(h.Columns)) for _, h in rows}
    if len(sizes) > 1:
        raise UserError(
            f"{folder}: slices of one series differ in size {sorted(sizes)}; "
            "keep the slices of one volume in the folder"
        )
    if any(int(h.get("NumberOfFrames", 1) or 1) > 1 for _, h in rows):
        raise UserError(
            f"{folder}: several files of many frames each; give one of the files"
        )
    turns = [h.get("ImageOrientationPatient") for _, h in rows]
    known = [np.array(turn, float) for turn in turns if turn is not None]
    if any(np.abs(turn - known[0]).max() > 1e-2 for turn in known):
        raise UserError(
            f"{folder}: slices of one series differ in orientation (a localiser?); "
            "keep the slices of one volume in the folder"
        )


def _number(header: Any, tag: str) -> int:
    try:
        return int(header.get(tag) or 0)
    except (TypeError, ValueError):
        return 0


def _normal(header: Any) -> NDArray[np.float64]:
    turn = header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)
    row, column = np.array(turn, dtype=np.float64).reshape(2, 3)
    return np.asarray(np.cross(row, column))


def _position(header: Any) -> NDArray[np.float64]:
    return np.array(header.ImagePositionPatient, dtype=np.float64)


def _by_place(
    rows: list[tuple[str, Any]],
    folder: str,
) -> list[list[tuple[str, Any]]]:
    """Group slices by position along the normal, in ascending order."""
    normal = _normal(rows[0][1])
    keyed = sorted(
        rows,
        key=lambda row: (
            round(float(_position(row[1]) @ normal) / _SAME_PLACE_MM),
            _number(row[1], "AcquisitionNumber"),
            _number(row[1], "InstanceNumber"),
        ),
    )
    places: list[list[tuple[str, Any]]] = []
    last = -np.inf
    for row in keyed:
        here = float(_position(row[1]) @ normal)
        if here - last > _SAME_PLACE_MM:
            places.append([])
            last = here
        places[-1].append(row)
    counts = sorted({len(place) for place in places})
    if len(counts) > 1:
        raise UserError(
            f"{folder}: {counts[0]} to {counts[-1]} slices at one position; keep the "
            "slices of one volume in the folder"
        )
    return places


def _step(
    headers: tuple[Any, ...],
) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Mean way from plane to plane, as ITK takes it, and what is odd about it."""
    if len(headers) < 2:
        return None, ()
    notes = []
    normal = _normal(headers[0])
    normal = normal / np.linalg.norm(normal)
    places = np.array([_position(header) for header in headers])
    mean = (places[-1] - places[0]) / (len(headers) - 1)
    length = float(np.linalg.norm(mean))
    gaps = np.diff(places @ normal)
    if float(np.ptp(gaps)) > max(_UNEVEN_SHARE * length, _SAME_PLACE_MM):
        notes.append(
            f"slice spacing varies from {gaps.min():.3f} to {gaps.max():.3f} mm: a "
            f"slice may be missing; {length:.3f} mm is taken"
        )
    if float(mean @ normal) / length >= _TILT_COSINE:
        return normal * length, tuple(notes)
    notes.append("the slices are stacked at a tilt (gantry): the grid is sheared")
    return mean, tuple(notes)
