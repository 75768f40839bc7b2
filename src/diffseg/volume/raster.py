"""Pictures: PNG, JPEG, BMP, TIFF, and folders of numbered slices."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.affine import Affine
from diffseg.volume.grid import Grid
from diffseg.volume.nifti import chosen_frame, damaged, native
from diffseg.volume.quiet import heard, one_line, sitk
from diffseg.volume.source import RASTER_SUFFIXES, Source, stem_of
from diffseg.volume.volume import Volume, Voxels, require_real

_FORMATS = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_TIFF = (".tif", ".tiff")
_DEEP_COLOUR_PNG = re.compile(
    rb"\x89PNG\r\n\x1a\n.{4}IHDR.{8}\x10[\x02\x06]", re.DOTALL
)


def read_raster(path: str, frame: int | None) -> Volume:
    """Open a picture; the pages of a TIFF are planes of a volume.

    Raises
    ------
    UserError
        The picture is damaged, or has more than frames, planes and channels.
    """
    with heard() as lines:
        voxels, frames = _stack(path)
    chosen, notes = chosen_frame(frames, frame, path)
    first = voxels[chosen]
    planes, rows, columns = first.shape[1:]
    shape = (columns, rows) + ((planes,) if planes > 1 else ())
    shape += (frames,) if frames > 1 else ()
    kind = _FORMATS[Path(path).suffix.lower()]
    return _volume(
        partial(_load, path, chosen), first, shape, (path,), kind, [*lines, *notes]
    )


def read_slices(folder: str, frame: int | None) -> Volume:
    """Open a folder of numbered pictures as one volume, in order of number.

    Files whose stem ends in ``_mask`` are left out.

    Raises
    ------
    UserError
        No pictures, one without a number, or pictures of several sizes.
    """
    paths = _numbered(folder)
    chosen_frame(1, frame, folder)
    with heard() as lines:
        voxels = _load_slices(tuple(path for _, path in paths))
    numbers = [number for number, _ in paths]
    notes = []
    if len(set(numbers)) < len(numbers):
        raise UserError(
            f"{folder}: two slices carry one number; keep one volume in the folder"
        )
    if numbers[-1] - numbers[0] + 1 != len(numbers):
        notes.append(f"slice numbers {numbers[0]} to {numbers[-1]} have gaps")
    planes, rows, columns = voxels.shape[1:]
    loader = partial(_load_slices, tuple(path for _, path in paths))
    shape = (columns, rows, planes)
    return _volume(loader, voxels, shape, (folder,), "slices", [*lines, *notes])


def _volume(
    loader: Any,
    voxels: Voxels,
    shape: tuple[int, ...],
    paths: tuple[str, ...],
    kind: str,
    notes: list[str],
) -> Volume:
    """Return a volume in pixels, the voxels at hand put into its cache."""
    source = Source(
        paths=paths,
        stem=stem_of(paths[0]),
        format=kind,
        shape=shape,
        dtype=voxels.dtype.name,
    )
    extent = (voxels.shape[1], voxels.shape[2], voxels.shape[3])
    grid = Grid(extent, Affine.identity(), has_spacing=False, has_sides=False)
    return Volume(loader, grid, source, tuple(dict.fromkeys(notes)), [voxels])


def _numbered(folder: str) -> list[tuple[int, str]]:
    """(number, path) of the slices in a folder, in order of number."""
    found = [
        path
        for path in sorted(Path(folder).iterdir())
        if path.suffix.lower() in RASTER_SUFFIXES
        and not path.stem.lower().endswith("_mask")
        and not path.name.startswith(".")
    ]
    if not found:
        raise UserError(
            f"{folder}: no DICOM and no pictures in this folder; give a file, a DICOM "
            "folder or a folder of numbered slices"
        )
    numbered = []
    for path in found:
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise UserError(
                f"{folder}: {path.name} carries no slice number; name slices 001, 002"
            )
        numbered.append((int(digits[-1]), str(path)))
    return sorted(numbered)


def _load(path: str, frame: int) -> Voxels:
    with heard():
        voxels: Voxels = _stack(path)[0][frame]
        return voxels


def _load_slices(paths: tuple[str, ...]) -> Voxels:
    planes = []
    with heard():
        for path in paths:
            voxels, frames = _stack(path)
            if frames > 1 or voxels.shape[2] > 1:
                raise UserError(f"{path}: a slice of several pages; give it by itself")
            planes.append(voxels[0])
    sizes = {plane.shape[2:] for plane in planes}
    if len(sizes) > 1:
        shown = ", ".join(f"{w}x{h}" for h, w in sorted(sizes)[:3])
        raise UserError(
            f"{Path(paths[0]).parent}: slices differ in size ({shown}); keep the "
            "slices of one volume in the folder"
        )
    if len({plane.shape[0] for plane in planes}) > 1:  # grey pages among colour ones
        planes = [np.broadcast_to(p, (3, *p.shape[1:])) for p in planes]
    return np.ascontiguousarray(np.concatenate(planes, axis=1))


def _stack(path: str) -> tuple[Voxels, int]:
    """(T, C, Z, Y, X) voxels of a picture file, and T."""
    try:
        if Path(path).suffix.lower() in _TIFF:
            voxels = _tiff(path)
        else:
            voxels = _colour(_plain(path))[np.newaxis, :, np.newaxis]
    except (UserError, MemoryError):
        raise
    except Exception as err:
        raise damaged(path, err) from err
    require_real(voxels.dtype, path)
    return np.ascontiguousarray(native(voxels)), int(voxels.shape[0])


def _plain(path: str) -> NDArray[Any]:
    """(Y, X) or (Y, X, C) pixels of a one-page file."""
    from PIL import Image

    with open(path, "rb") as handle:
        start = handle.read(32)
    if _DEEP_COLOUR_PNG.match(start):  # Pillow would drop to 8 bits
        deep: NDArray[Any] = sitk().GetArrayFromImage(sitk().ReadImage(path))
        return deep
    with Image.open(path) as image:
        return _pillow_pixels(image)


def _pillow_pixels(image: Any) -> NDArray[Any]:
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in ("P", "PA"):
        clear = image.mode == "PA" or "transparency" in image.info
        return np.asarray(image.convert("RGBA" if clear else "RGB"))
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        return np.asarray(image.convert("RGB"))
    return np.asarray(image)


def _colour(pixels: NDArray[Any]) -> NDArray[Any]:
    """(Y, X[, S]) to (C, Y, X): alpha left out, equal channels taken as one."""
    if pixels.ndim == 2:
        return pixels[np.newaxis]
    channels = np.moveaxis(pixels, -1, 0)
    if len(channels) in (2, 4):
        channels = channels[:-1]
    if len(channels) == 3 and (channels[0] == channels[1:]).all():
        return channels[:1]
    return channels


def _tiff(path: str) -> NDArray[Any]:
    """(T, C, Z, Y, X) of a TIFF: by tifffile, or by Pillow if packed."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        axes = series.axes
        palette = series.keyframe.colormap
        try:
            pixels = series.asarray()
        except ValueError:  # a compression that needs a codec tifffile lacks
            return _tiff_by_pillow(path)
        if len(tiff.series) > 1 and axes.replace("S", "") == "YX":
            # Pages written one by one: tifffile calls each a series.
            pages = [page.asarray() for page in tiff.series]
            if len({(page.shape, page.dtype) for page in pages}) > 1:
                raise UserError(f"{path}: pages differ in size or type; save one stack")
            pixels, axes = np.stack(pages), "Q" + axes
    if palette is not None:
        pixels, axes = np.moveaxis(palette[:, pixels], 0, -1), axes + "S"
        pixels = (pixels >> 8).astype(np.uint8)
    return _by_axes(pixels, axes, path)


def _tiff_by_pillow(path: str) -> NDArray[Any]:
    from PIL import Image, ImageSequence

    with Image.open(path) as image:
        pages = [_pillow_pixels(page) for page in ImageSequence.Iterator(image)]
    if len({page.shape for page in pages}) > 1:
        raise UserError(f"{path}: pages differ in size or type; save one stack")
    axes = "QYXS" if pages[0].ndim == 3 else "QYX"
    return _by_axes(np.stack(pages), axes, path)


def _by_axes(pixels: NDArray[Any], axes: str, path: str) -> NDArray[Any]:
    """Sort axes named by tifffile's letters into (T, C, Z, Y, X)."""
    names = list(axes)
    for place in reversed(range(len(names))):
        if names[place] not in "YXS" and pixels.shape[place] == 1:
            pixels = pixels.squeeze(place)
            del names[place]
    planes = [name for name in names if name not in "YXSCT"]
    if len(planes) > 1 or ("S" in names and "C" in names):
        raise UserError(
            f"{path}: {one_line(axes)} of shape {pixels.shape} has too many axes; save "
            "one stack of planes, frames and channels"
        )
    if not planes and "T" in names:  # frames alone are the planes of a volume
        planes = ["T"]
    roles = ["" if planes == ["T"] else "T", "C", *(planes or [""]), "Y", "X"]
    if "S" in names:
        roles[1] = "S"
    present = [names.index(role) for role in roles if role in names]
    ordered = pixels.transpose(present)
    sizes = iter(ordered.shape)
    full = ordered.reshape([next(sizes) if r in names else 1 for r in roles])
    if roles[1] == "S":
        full = np.moveaxis(_colour(np.moveaxis(full, 1, -1)), 0, 1)
    return full
