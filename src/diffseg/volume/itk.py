"""What SimpleITK reads: NRRD, MetaImage, and whatever else ITK knows."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.affine import Affine
from diffseg.volume.grid import Grid
from diffseg.volume.nifti import NotRecognisedError, chosen_frame, damaged
from diffseg.volume.quiet import one_line, sitk
from diffseg.volume.source import Source, image_suffix, stem_of
from diffseg.volume.volume import Volume, Voxels

_FORMATS = {
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".nii": "analyze",
    ".hdr": "analyze",
    ".img": "analyze",
}
# Three words of MetaImage for the same matrix.
_TURN = re.compile(rb"^\s*(TransformMatrix|Rotation|Orientation)\s*=", re.MULTILINE)
_HEAD_BYTES = 1 << 16
_DTYPES = {
    "8-bit unsigned integer": "uint8",
    "8-bit signed integer": "int8",
    "16-bit unsigned integer": "uint16",
    "16-bit signed integer": "int16",
    "32-bit unsigned integer": "uint32",
    "32-bit signed integer": "int32",
    "64-bit unsigned integer": "uint64",
    "64-bit signed integer": "int64",
    "32-bit float": "float32",
    "64-bit float": "float64",
}


def read_itk(path: str, frame: int | None) -> Volume:
    """Open a file that ITK knows, its LPS+ geometry converted to RAS+.

    Raises
    ------
    NotRecognisedError
        ITK cannot open it.
    UserError
        It is open, and cannot be used.
    """
    reader = open_header(path)
    dims = reader.GetDimension()
    kind = sitk().GetPixelIDValueAsString(reader.GetPixelID())
    dtype = _DTYPES.get(kind.removeprefix("vector of "))
    if dtype is None or dims not in (2, 3, 4):
        raise UserError(
            f"{path}: {kind} in {dims} dimensions is not a real-valued image of "
            "2 to 4; save the magnitude, or one 2D, 3D or 4D image"
        )
    size = tuple(int(extent) for extent in reader.GetSize())
    x, y, z, frames = (*size, 1, 1)[:4]
    chosen, notes = chosen_frame(frames, frame, path)
    affine = affine_of(reader, path)
    suffix = image_suffix(path)
    open_question = _open_question(reader, suffix, path)
    if open_question:
        notes.append(f"{open_question}: which side is left is a guess")
    source = Source(
        paths=(path,),
        stem=stem_of(path),
        format=_FORMATS.get(suffix, (suffix or ".itk")[1:]),
        shape=size,
        dtype=dtype,
        affine=affine,
        units=None,
    )
    grid = Grid((z, y, x), affine, has_sides=not open_question)
    return Volume(partial(_load, path, dims, chosen), grid, source, tuple(notes))


def _open_question(reader: Any, suffix: str, path: str) -> str:
    """Why the axes' place in the patient is not known; "" where it is."""
    kind = _FORMATS.get(suffix, "")
    if kind == "nrrd" and not _names_patient_space(reader):
        return "the header names no space"
    if kind == "metaimage" and not _TURN.search(_head(path)):
        return "the header gives no TransformMatrix"
    if kind == "analyze":
        return "the header is damaged"
    if reader.GetDimension() < 3:
        return "an image of two dimensions does not say how it lies in the patient"
    return ""


def _names_patient_space(reader: Any) -> bool:
    key = "NRRD_space"
    named = key in reader.GetMetaDataKeys() and str(reader.GetMetaData(key))
    return bool(named) and not str(named).lower().startswith("3d-")


def _head(path: str) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(_HEAD_BYTES).partition(b"ElementDataFile")[0]


def open_header(path: str) -> Any:
    """SimpleITK's reader with the header read; `NotRecognisedError` if it cannot."""
    reader = sitk().ImageFileReader()
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as err:
        raise NotRecognisedError(one_line(str(err).rsplit(":", 1)[-1])) from err
    return reader


def affine_of(reader: Any, where: str, backwards: bool = False) -> Affine:
    """RAS+ affine of an ITK image or reader; a 2D one lies in the plane z = 0.

    With `backwards` a negative spacing is taken as GDCM means it: frames that are
    stored against the direction that it tells.
    """
    dims = reader.GetDimension()
    space = min(dims, 3)
    direction = np.array(reader.GetDirection()).reshape(dims, dims)
    spacing = np.array(reader.GetSpacing())
    steps = np.abs(spacing) if backwards else spacing
    if not (np.isfinite(steps[:space]).all() and (steps[:space] > 0).all()):
        shown = " x ".join(f"{step:g}" for step in spacing[:space])
        raise UserError(
            f"{where}: spacing {shown} mm in the header is zero, negative or not a "
            "number; correct it there to the scanner's spacing"
        )
    matrix = np.eye(4)
    matrix[:space, :space] = direction[:space, :space] * spacing[:space]
    matrix[:space, 3] = reader.GetOrigin()[:space]
    try:
        return Affine.from_lps(matrix)
    except UserError as err:
        raise UserError(f"{where}: {err}") from None


def channels_first(image: Any, dims: int) -> NDArray[Any]:
    """(C, [T,] [Z,] Y, X) voxels of an ITK image of `dims` dimensions."""
    voxels: NDArray[Any] = sitk().GetArrayFromImage(image)
    return np.moveaxis(voxels, -1, 0) if voxels.ndim > dims else voxels[np.newaxis]


def read_pixels(path: str) -> Any:
    """Return the whole ITK image; `UserError` if the file is damaged."""
    try:
        return sitk().ReadImage(path)
    except RuntimeError as err:
        raise damaged(path, RuntimeError(str(err).rsplit(":", 1)[-1])) from err


def _load(path: str, dims: int, frame: int) -> Voxels:
    voxels = channels_first(read_pixels(path), dims)
    if dims == 4:
        voxels = voxels[:, frame]
    if dims == 2:
        voxels = voxels[:, np.newaxis]
    return np.ascontiguousarray(voxels)
