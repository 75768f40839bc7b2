"""Masks and maps go back onto the source's own grid, whole or not at all."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.atomic import atomic_write_bytes
from diffseg.volume.grid import Grid
from diffseg.volume.quiet import nibabel
from diffseg.volume.source import Source

_GZIP_LEVEL = 6
_NOT_GEOMETRY = ("cal_min", "cal_max", "intent_p1", "intent_p2", "intent_p3")
PNG_ONE = 65535
_SPACE = 7  # bits of a header's units that tell of space
_NOT_MM = (1, 3)  # metres, micrometres


def write_mask(
    path: str | Path,
    mask: NDArray[Any],
    grid: Grid,
    source: Source,
    descrip: str = "diffseg mask",
    one_class: bool = False,
) -> Path:
    """Write an integer mask as NIfTI, or as PNG by its suffix.

    Parameters
    ----------
    path : path
        Ends in ``.nii``, ``.nii.gz`` or ``.png``.
    mask : (Z, Y, X) integer ndarray
        Label values in 0..255; a bool mask counts as 0/1.
    grid : Grid
        Where the mask lies.
    source : Source
        Its header's geometry, codes and units are kept where it is a NIfTI on
        the same grid; other sources give a NIfTI in RAS+ mm with scanner code.
    descrip : str
        Free text of at most 79 characters for the header.
    one_class : bool
        The label table has a single class: a PNG holds 0/255, else the values.

    Raises
    ------
    UserError
        The folder is not writable or full, or the suffix is not one of these.
    """
    values = np.asarray(mask)
    if values.shape != grid.shape:
        raise ValueError(f"mask {values.shape} is not on the grid {grid.shape}")
    if values.dtype.kind not in "biu" or values.min() < 0 or values.max() > 255:
        raise ValueError("a mask holds integers from 0 to 255")
    labels = values.astype(np.uint8)
    if str(path).lower().endswith(".png"):
        shown = np.where(labels > 0, np.uint8(255), np.uint8(0))
        return write_png(path, shown if one_class else labels)
    return _write_nifti(path, labels.transpose(2, 1, 0), grid, source, descrip)


def write_float(
    path: str | Path,
    array: NDArray[Any],
    grid: Grid,
    source: Source,
    descrip: str = "diffseg map",
) -> Path:
    """Write a (Z, Y, X) or (C, Z, Y, X) map as float32 NIfTI, classes last.

    No scaling is set in the header. With a ``.png`` name see `write_png`.

    Raises
    ------
    UserError
        The folder is not writable or full, or the suffix is not one of these.
    """
    values = np.asarray(array, dtype=np.float32)
    if values.shape[-3:] != grid.shape or values.ndim not in (3, 4):
        raise ValueError(f"map {values.shape} is not on the grid {grid.shape}")
    if str(path).lower().endswith(".png"):
        return write_png(path, values)
    return _write_nifti(path, values.T, grid, source, descrip)


def write_png(path: str | Path, picture: NDArray[Any]) -> Path:
    """Write one plane as PNG: uint8 as it is, floats in [0, 1] as 16 bit.

    Parameters
    ----------
    picture : (Y, X) or (1, Y, X) ndarray
        65535 stands for 1.0 of a float.

    Raises
    ------
    ValueError
        Several planes: these are a volume, and go into a NIfTI.
    UserError
        The folder is not writable or full.
    """
    from PIL import Image

    plane = np.asarray(picture)
    if plane.ndim not in (2, 3) or plane.size != np.prod(plane.shape[-2:]):
        raise ValueError(f"picture of shape {plane.shape} is not one plane")
    plane = plane.reshape(plane.shape[-2:])
    if plane.dtype != np.uint8:
        scaled = np.clip(np.nan_to_num(plane.astype(np.float64)), 0.0, 1.0) * PNG_ONE
        plane = np.rint(scaled).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(buffer, format="PNG")
    return atomic_write_bytes(path, buffer.getvalue())


def _write_nifti(
    path: str | Path,
    voxels: NDArray[Any],
    grid: Grid,
    source: Source,
    descrip: str,
) -> Path:
    """Write (i, j, k[, class]) voxels; equal input gives equal bytes."""
    name = str(path).lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: give a name that ends in .nii.gz, .nii or .png")
    header = _header_for(grid, source)
    if _is_flat(source) and voxels.ndim == 3:
        voxels = voxels[:, :, 0]
    header.set_data_dtype(voxels.dtype)
    header["descrip"] = descrip.encode("ascii", "replace")[:79]
    nib = nibabel()
    kind = nib.Nifti2Image if header["sizeof_hdr"] == 540 else nib.Nifti1Image
    # Without an affine argument nibabel leaves both forms as the header has them.
    payload = kind(voxels, None, header).to_bytes()
    if name.endswith(".gz"):
        payload = gzip.compress(payload, _GZIP_LEVEL, mtime=0)
    return atomic_write_bytes(path, payload)


def _is_flat(source: Source) -> bool:
    """Whether the source is a NIfTI of two dimensions, which its mask shares."""
    return source.header is not None and len(source.shape) == 2


def _header_for(grid: Grid, source: Source) -> Any:
    """Return the source's own header if the grid is its own, else a plain one."""
    own = source.header is not None and source.affine is not None
    if not own:
        return _plain_header(grid, "mm" if grid.has_spacing else "unknown", 1)
    header = source.header.copy()
    for name in _NOT_GEOMETRY:
        header[name] = 0
    header["intent_code"] = 0
    header["intent_name"] = b""
    header["aux_file"] = b""
    header["scl_slope"] = np.nan
    header["scl_inter"] = np.nan
    extents = (*source.shape, 1)[:3]
    in_mm = grid.has_spacing and int(header["xyzt_units"]) & _SPACE in _NOT_MM
    if grid.shape == extents[::-1] and grid.affine == source.affine:
        if in_mm:  # the millimetres were given by hand
            header.set_xyzt_units("mm", header.get_xyzt_units()[1])
        return header
    unit = "mm" if in_mm else header.get_xyzt_units()[0]
    code = int(header["sform_code"]) or int(header["qform_code"]) or 1
    return _plain_header(grid, unit, code)


def _plain_header(grid: Grid, unit: str, code: int) -> Any:
    """Return a NIfTI-1 header with sform, and qform where it can say the same."""
    header = nibabel().Nifti1Header()
    header.set_data_shape(grid.shape[::-1])
    header["pixdim"][1:4] = grid.affine.spacing
    header.set_sform(grid.affine.matrix, code)
    if grid.affine.is_orthogonal:
        header.set_qform(grid.affine.matrix, code)
    header.set_xyzt_units(unit)
    return header
