"""What nibabel reads: NIfTI, Analyze, MGH, AFNI, PAR/REC, MINC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.affine import Affine
from diffseg.volume.grid import Grid
from diffseg.volume.quiet import heard, nibabel, one_line
from diffseg.volume.source import Source, stem_of
from diffseg.volume.volume import Volume, Voxels, require_real

_FORMATS = {
    "Nifti1Image": "nifti1",
    "Nifti2Image": "nifti2",
    "Nifti1Pair": "nifti-pair",
    "Nifti2Pair": "nifti-pair",
    "MGHImage": "mgh",
    "AFNIImage": "afni",
    "PARRECImage": "par-rec",
    "Minc1Image": "minc",
    "Minc2Image": "minc",
}
NO_FORM = "no sform and no qform: which side is left is a guess"
ANALYZE = "Analyze does not say which side is left: it is a guess"
_MM_FORMATS = ("mgh", "afni", "par-rec", "minc")


class NotRecognisedError(Exception):
    """A toolkit cannot open the file; another one may."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which axes of a file are space, frames and channels."""

    spatial: tuple[int, int, int]
    frames: int
    channels: int
    frame_first: bool = False

    @classmethod
    def of(cls, shape: tuple[int, ...], frame_first: bool, where: str) -> Layout:
        """Sort out the axes, or raise `UserError` for too few or too many."""
        if frame_first and len(shape) == 4:
            return cls((shape[1], shape[2], shape[3]), shape[0], 1, True)
        if len(shape) < 2 or min(shape) < 1 or any(n > 1 for n in shape[5:]):
            raise UserError(
                f"{where}: an image of shape {shape} has no 2 to 4 dimensions; "
                "save one 2D, 3D or 4D image"
            )
        i, j, k, frames, channels = (*shape, 1, 1, 1)[:5]
        if frames > 1 and channels > 1:
            raise UserError(
                f"{where}: shape {shape} has frames and channels (5D); "
                "save one frame, or one channel, as a file of its own"
            )
        return cls((i, j, k), frames, channels)


def read_nibabel(path: str, frame: int | None) -> Volume:
    """Open a file that nibabel knows.

    Raises
    ------
    NotRecognisedError
        nibabel cannot open it; the reason is its message.
    UserError
        It is open, and cannot be used.
    """
    with heard() as lines, _opened(path) as image:
        kind = _FORMATS.get(type(image).__name__, "analyze")
        is_nifti = kind.startswith("nifti")
        if is_nifti:
            _refuse_bad_spacing(image, path)
        shape = tuple(int(extent) for extent in image.shape)
        layout = Layout.of(shape, kind == "minc", path)
        stored = image.get_data_dtype()
        if stored.fields is None:
            require_real(stored, path)
        try:
            affine = Affine(image.affine)
        except UserError as err:
            raise UserError(f"{path}: {err}") from None
    chosen, notes = chosen_frame(layout.frames, frame, path)
    units, unit_notes = _units(image, is_nifti)
    known_mm = units in (None, "mm")
    notes = [*lines, *notes, *unit_notes, *(_form_notes(image) if is_nifti else [])]
    sides = _says_sides(image, kind)
    if not sides:
        notes.append(NO_FORM if is_nifti else ANALYZE)
    source = Source(
        paths=(path,),
        stem=stem_of(path),
        format=kind,
        shape=shape,
        dtype="uint8" if stored.fields else stored.newbyteorder("=").name,
        affine=affine,
        units="mm" if kind in _MM_FORMATS else units,
        header=_single_file_header(image) if is_nifti else None,
    )
    i, j, k = layout.spatial
    grid = Grid((k, j, i), affine, has_spacing=known_mm, has_sides=sides)
    return Volume(partial(_load, path, layout, chosen), grid, source, tuple(notes))


def chosen_frame(
    frames: int,
    frame: int | None,
    where: str,
) -> tuple[int, list[str]]:
    """Settle on a frame; a warning where nobody chose, an error out of range."""
    if frame is not None and not 0 <= frame < frames:
        raise UserError(
            f"{where}: frame {frame} is not among its {frames}; give 0 to {frames - 1}",
            option="--frame",
        )
    if frames > 1 and frame is None:
        return 0, [f"4D image of {frames} frames: the first, frame 0, is taken"]
    return frame or 0, []


def native(array: NDArray[Any]) -> Voxels:
    """Bring to the machine's byte order, and long doubles to float64."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return np.asarray(array, dtype=np.float64)
    swapped: Voxels = array.astype(array.dtype.newbyteorder("="), copy=False)
    return swapped


def damaged(path: str, err: Exception) -> UserError:
    """Say that a file's voxels cannot be read."""
    return UserError(
        f"{path}: voxels cannot be read, the file is truncated or corrupt "
        f"({one_line(err, 80)}); copy or export it again"
    )


def _missing_half(path: str, err: FileNotFoundError) -> UserError:
    return UserError(
        f"{path}: its other half {err.filename or ''} is missing; put it beside"
    )


def _open(path: str) -> Any:
    tools = nibabel()
    try:
        # Without a memory map the voxels stay valid when the file is replaced.
        try:
            return tools.load(path, mmap=False)
        except TypeError:  # formats that know no memory map
            return tools.load(path)
    except MemoryError:
        raise
    except FileNotFoundError as err:
        raise _missing_half(path, err) from err
    except Exception as err:
        raise NotRecognisedError(one_line(err)) from err


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Yield nibabel's image; afterwards close what PAR/REC leaves open."""
    image = _open(path)
    try:
        yield image
    finally:
        close = getattr(getattr(image.dataobj, "file_like", None), "close", None)
        if close is not None:
            close()


def _load(path: str, layout: Layout, frame: int) -> Voxels:
    with heard():
        try:
            with _opened(path) as image:
                voxels = _frame_of(image.dataobj, layout, frame)
        except (MemoryError, UserError):
            raise
        except FileNotFoundError as err:
            raise _missing_half(path, err) from err
        except Exception as err:
            raise damaged(path, err) from err
    if voxels.dtype.fields:
        names = voxels.dtype.names or ()
        voxels = np.stack([voxels[name][..., 0] for name in names], axis=-1)
    # (i, j, k, channel) to (channel, k, j, i): the file's axes reversed.
    return np.ascontiguousarray(native(voxels).transpose(3, 2, 1, 0))


def _frame_of(proxy: Any, layout: Layout, frame: int) -> NDArray[Any]:
    """Return (i, j, k, channel) voxels of one frame, scaled by the header."""
    if layout.frame_first:
        voxels = np.asanyarray(proxy[frame])
    elif len(proxy.shape) == 4:
        voxels = np.asanyarray(proxy[..., frame])
    elif layout.frames > 1:
        voxels = np.asanyarray(proxy).reshape((*layout.spatial, -1))[..., frame]
    else:
        voxels = np.asanyarray(proxy)
    return np.reshape(voxels, (*layout.spatial, layout.channels))


def _refuse_bad_spacing(image: Any, path: str) -> None:
    """Look at pixdim before nibabel repairs it."""
    holder = image.file_map.get("header") or image.file_map["image"]
    if holder.filename is None:
        holder = image.file_map["image"]
    with nibabel().openers.ImageOpener(holder.filename) as handle:
        raw = type(image.header).from_fileobj(handle, check=False)
    extents = raw["dim"][1 : 1 + min(int(raw["dim"][0]), 3)]
    steps = raw["pixdim"][1 : 1 + len(extents)]
    bad = (extents > 1) & ~(np.isfinite(steps) & (steps > 0))
    if bad.any():
        shown = " x ".join(f"{step:g}" for step in steps)
        raise UserError(
            f"{path}: spacing {shown} mm in the header (pixdim) is zero, negative or "
            "not a number; correct it there to the scanner's spacing"
        )


def _units(image: Any, is_nifti: bool) -> tuple[str | None, list[str]]:
    if not is_nifti:
        return None, []
    try:
        unit = str(image.header.get_xyzt_units()[0])
    except KeyError:
        return None, ["the header's unit code is not one of NIfTI's: mm is taken"]
    if unit in ("unknown", "mm"):
        return (None if unit == "unknown" else unit), []
    line = f"the header's unit is {unit}: no volumes in ml are given"
    return unit, [line]


def _says_sides(image: Any, kind: str) -> bool:
    """Whether the header says how the axes lie in the patient."""
    if kind.startswith("nifti"):
        return bool(image.header["sform_code"]) or bool(image.header["qform_code"])
    return kind != "analyze"


def _form_notes(image: Any) -> list[str]:
    """Warn where the header says two things of the orientation."""
    sform, scode = image.header.get_sform(coded=True)
    qform, qcode = image.header.get_qform(coded=True)
    if scode and qcode and sform is not None and qform is not None:
        apart = float(np.abs(np.asarray(sform) - np.asarray(qform)).max())
        if apart > 0.1:
            return [f"sform and qform differ by up to {apart:.3g}: the sform is taken"]
    return []


def _single_file_header(image: Any) -> Any:
    """Copy of the header for a .nii file, every geometry field bit for bit."""
    header = image.header
    two = header.sizeof_hdr == 540
    kind = nibabel().Nifti2Header if two else nibabel().Nifti1Header
    single = kind(header.binaryblock, endianness=header.endianness, check=False)
    single["magic"] = single.default_structarr()["magic"]
    single["vox_offset"] = 0
    return single
