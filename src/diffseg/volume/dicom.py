"""DICOM: one file, or the series of a folder. Pixels by pydicom, geometry by ITK."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.affine import Affine
from diffseg.volume.dicom_series import (
    SeriesInfo,
    Stack,
    has_pixels,
    is_dicom,
    list_series,
    stack_of,
)
from diffseg.volume.dicom_sides import with_sides
from diffseg.volume.grid import Grid
from diffseg.volume.itk import affine_of, channels_first, open_header, read_pixels
from diffseg.volume.nifti import NotRecognisedError, chosen_frame
from diffseg.volume.quiet import heard, one_line
from diffseg.volume.source import Source, stem_of
from diffseg.volume.volume import Volume, Voxels

__all__ = ["holds_dicom", "is_dicom", "read_dicom", "read_dicom_folder"]

_SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def holds_dicom(folder: str) -> bool:
    """Whether any file at or below `folder` starts as DICOM does."""
    return any(is_dicom(path) for path in Path(folder).rglob("*") if path.is_file())


def read_dicom(path: str, frame: int | None, series: str | None) -> Volume:
    """Open a single DICOM file; its frames, if it has several, are planes.

    Raises
    ------
    UserError
        It holds no image (a plan, a structure set, a report, a waveform), is
        truncated, or is of another series than the one asked for.
    """
    from pydicom import dcmread

    with heard() as lines:
        try:
            header = dcmread(path, stop_before_pixels=True, force=True)
        except Exception as err:
            raise UserError(f"{path}: not DICOM ({one_line(err, 80)})") from err
        uid = str(header.get("SeriesInstanceUID", "")) or None
        if series is not None and uid != series:
            raise UserError(f"{path} is of series {uid}, not of {series}")
        size, affine = _geometry(path, header)
        _refuse_bad_spacing(path, header)
    chosen_frame(1, frame, path)
    notes = [*lines, *_thickness_notes(header, affine)]
    known = _knows_spacing(header, affine)
    if not known:
        notes.append("the header gives no pixel spacing: no volumes in ml are given")
    source = _source((path,), stem_of(path), header, size, affine, known)
    grid = Grid((size[2], size[1], size[0]), affine, has_spacing=known)
    grid, side_notes = with_sides(grid, header)
    loader = partial(_load_planes, (path,))
    return Volume(loader, grid, source, tuple(dict.fromkeys([*notes, *side_notes])))


def read_dicom_folder(path: str, frame: int | None, series: str | None) -> Volume:
    """Open one series of a folder as a volume, planes in order of position.

    Raises
    ------
    UserError
        Several series and none chosen (their UIDs are listed), no such series,
        or slices that do not make one volume.
    """
    with heard() as lines:
        info = _chosen(list_series(path), path, series)
        if len(info.files) == 1:
            volume = read_dicom(info.files[0], frame, None)
            return _renamed(volume, path)
        stack = stack_of(info, path)
        first = stack.headers[0]
        _refuse_bad_spacing(path, first)
        size, in_plane = _geometry(stack.frames[0][0], first)
    affine = _stacked_affine(in_plane, stack)
    frames, planes = len(stack.frames), len(stack.frames[0])
    chosen, notes = chosen_frame(frames, frame, path)
    known = _knows_spacing(first, affine)
    if not known:
        notes.append("the header gives no pixel spacing: no volumes in ml are given")
    shape = (size[0], size[1], planes) + ((frames,) if frames > 1 else ())
    source = _source((path,), stem_of(path), first, shape, affine, known)
    grid = Grid((planes, size[1], size[0]), affine, has_spacing=known)
    grid, side_notes = with_sides(grid, first)
    loader = partial(_load_planes, stack.frames[chosen])
    said = (*lines, *stack.notes, *notes, *side_notes)
    return Volume(loader, grid, source, said)


def _chosen(found: list[SeriesInfo], path: str, series: str | None) -> SeriesInfo:
    if not found:
        raise UserError(f"{path}: no DICOM image in this folder; give one that has")
    listing = "; ".join(
        f"{info.uid} ({info.modality or '?'}, {info.n_slices} slices"
        + (f", {info.description})" if info.description else ")")
        for info in found
    )
    if series is not None:
        for info in found:
            if info.uid == series:
                return info
        raise UserError(f"{path}: no series {series}; it holds {listing}")
    if len(found) > 1:
        raise UserError(
            f"{path}: {len(found)} series, choose one with --series: {listing}"
        )
    return found[0]


def _renamed(volume: Volume, path: str) -> Volume:
    source = replace(volume.source, paths=(path,), stem=stem_of(path))
    return replace(volume, source=source)


def _source(
    paths: tuple[str, ...],
    stem: str,
    header: Any,
    shape: tuple[int, ...],
    affine: Affine,
    known: bool,
) -> Source:
    bits = int(header.get("BitsAllocated", 16) or 16)
    sign = "" if header.get("PixelRepresentation", 0) else "u"
    return Source(
        paths=paths,
        stem=stem,
        format="dicom",
        shape=shape,
        dtype=f"{sign}int{max(bits, 8)}",
        affine=affine,
        units="mm" if known else None,
        modality=str(header.get("Modality", "") or "") or None,
        series_uid=str(header.get("SeriesInstanceUID", "") or "") or None,
    )


def _geometry(path: str, header: Any) -> tuple[tuple[int, int, int], Affine]:
    """Size (columns, rows, planes) and affine of one file, by ITK or by its tags."""
    try:
        reader = open_header(path)
    except NotRecognisedError:
        if not has_pixels(header):
            raise _no_image(path, header) from None
        return _geometry_by_tags(path, header)
    x, y, z = (*(int(extent) for extent in reader.GetSize()), 1)[:3]
    return (x, y, z), affine_of(reader, path, backwards=True)


def _geometry_by_tags(path: str, header: Any) -> tuple[tuple[int, int, int], Affine]:
    size = (
        int(header.Columns),
        int(header.Rows),
        int(header.get("NumberOfFrames", 1) or 1),
    )
    matrix = np.eye(4)
    row, column = np.reshape(
        np.array(header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0), float),
        (2, 3),
    )
    dy, dx = (float(step) for step in header.get("PixelSpacing") or (1, 1))
    dz = float(header.get("SpacingBetweenSlices") or 1)
    matrix[:3, :3] = np.column_stack(
        [row * dx, column * dy, np.cross(row, column) * dz]
    )
    matrix[:3, 3] = np.array(header.get("ImagePositionPatient") or (0, 0, 0), float)
    try:
        return size, Affine.from_lps(matrix)
    except UserError as err:
        raise UserError(f"{path}: {err}") from None


def _stacked_affine(in_plane: Affine, stack: Stack) -> Affine:
    """Replace the third column by the step from plane to plane, if it is known."""
    if stack.step_lps is None:
        return in_plane
    matrix = np.array(in_plane.matrix)
    matrix[:3, 2] = np.array([-1.0, -1.0, 1.0]) * stack.step_lps
    return Affine(matrix)


def _knows_spacing(header: Any, affine: Affine) -> bool:
    """Whether the header says millimetres, at the top or in functional groups."""
    if any(header.get(tag) for tag in _SPACING_TAGS):
        return True
    return not np.allclose(affine.spacing[:2], 1.0)


def _thickness_notes(header: Any, affine: Affine) -> list[str]:
    """Say where ITK's distance between planes is not the slices' thickness."""
    thick = float(header.get("SliceThickness") or 0)
    step = affine.spacing[2]
    if thick <= 0 or header.get("SpacingBetweenSlices") or np.isclose(thick, step):
        return []
    return [
        f"a single slice of {thick:g} mm is taken as {step:g} mm deep: volumes in ml "
        "count that depth"
    ]


def _refuse_bad_spacing(path: str, header: Any) -> None:
    steps = [float(step) for step in header.get("PixelSpacing") or ()]
    if any(not np.isfinite(step) or step <= 0 for step in steps):
        shown = " x ".join(f"{step:g}" for step in steps)
        raise UserError(
            f"{path}: PixelSpacing {shown} mm is zero, negative or not a number; "
            "correct it in the header to the scanner's spacing"
        )


def _no_image(path: str, header: Any) -> UserError:
    kind = str(header.get("Modality", "") or "")
    what = f"DICOM of modality {kind} " if kind else "this file "
    return UserError(
        f"{path}: {what}holds no image that can be read; give a DICOM image"
    )


def _load_planes(paths: tuple[str, ...]) -> Voxels:
    """(C, Z, Y, X) voxels of files in order; rescaled to the modality's units."""
    with heard():
        planes = [_pixels(path) for path in paths]
    if len({plane.shape[0] for plane in planes}) > 1:
        raise UserError(f"{paths[0]}: slices of one series differ in channels")
    return np.ascontiguousarray(np.concatenate(planes, axis=1))


def _pixels(path: str) -> NDArray[Any]:
    """(C, Z, Y, X) of one file.

    pydicom comes first: ITK's GDCM mixes up RLE-coded colour of 16 and 32 bits,
    and widens one-bit segmentations to 0/255. ITK applies palettes, and
    decodes what pydicom's plugins do not.
    """
    from pydicom import dcmread

    header = dcmread(path, force=True)
    if header.get("PhotometricInterpretation") != "PALETTE COLOR":
        try:
            return _decoded(header)
        except MemoryError:
            raise
        except Exception as err:
            reason = err
    else:
        reason = ValueError("its palette cannot be applied")
    try:
        reader = open_header(path)
        return channels_first(read_pixels(path), reader.GetDimension())
    except NotRecognisedError:
        if not has_pixels(header) or "PixelData" not in header:
            raise _no_image(path, header) from None
        raise UserError(
            f"{path}: pixels cannot be decoded ({one_line(reason, 80)}); "
            "the file is truncated or its compression unknown: export it again"
        ) from reason


def _decoded(header: Any) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    pixels = header.pixel_array
    samples = int(header.get("SamplesPerPixel", 1) or 1)
    if samples > 1:
        pixels = pixels.reshape((-1, *pixels.shape[-3:]))
        return np.moveaxis(pixels, -1, 0)
    scaled = apply_modality_lut(pixels, header)
    if scaled.dtype.kind == "f" and pixels.dtype.itemsize <= 2 and _is_integral(header):
        # Whole slopes keep whole numbers: half the memory, the same values.
        scaled = scaled.astype(np.int32)
    return np.asarray(scaled).reshape((1, -1, *pixels.shape[-2:]))


def _is_integral(header: Any) -> bool:
    slope = float(header.get("RescaleSlope", 1))
    shift = float(header.get("RescaleIntercept", 0))
    return slope.is_integer() and shift.is_integer() and abs(slope) * 65536 < 2**30
