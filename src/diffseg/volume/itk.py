"""What SimpleITK reads: NRRD, MetaImage, and whatever else ITK knows."""

from __future__ import annotations

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
    if suffix in (".nrrd", ".nhdr") and "NRRD_space" not in reader.GetMetaDataKeys():
        notes.append("the header names no space: which side is left is a guess")
    source = Source(
        paths=(path,),
        stem=stem_of(path),
        format=_FORMATS.get(suffix, (suffix or ".itk")[1:]),
        shape=size,
        dtype=dtype,
        affine=affine,
        units=None,
    )
    grid = Grid((z, y, x), affine)
    return Volume(partial(_load, path, dims, chosen), grid, source, tuple(notes))


def open_header(path: str) -> Any:
    """SimpleITK's reader with the header read; `NotRecognisedError` if it cannot."""
    reader = sitk().ImageFileReader()
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as err:
        raise NotRecognisedError(one_line(str(err).rsplit(":", 1)[-1])) from err
    return reader


def affine_of(reader: Any, where: str) -> Affine:
    """RAS+ affine of an ITK image or reader; a 2D one lies in the plane z = 0."""
    dims = reader.GetDimension()
    space = min(dims, 3)
    direction = np.array(reader.GetDirection()).reshape(dims, dims)
    spacing = np.array(reader.GetSpacing())
    if not (np.isfinite(spacing[:space]).all() and (spacing[:space] > 0).all()):
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
