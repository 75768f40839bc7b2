"""The image that a case is of: where it lies, what it was, whether it still is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from diffseg.errors import UserError
from diffseg.volume import Affine, Grid, Source

_HALVES = (
    (".hdr", ".img"),
    (".mhd", ".raw", ".zraw"),
    (".nhdr", ".raw", ".raw.gz"),
    (".head", ".brik", ".brik.gz"),
    (".par", ".rec"),
)
"""Formats of which one file is the header and another holds the voxels."""
_BLOCK = 2**20


def checksum(paths: Sequence[Path]) -> str:
    """SHA-256 of an image's files.

    One file's is its own, as other tools tell it. Of several files (channels, a
    folder, a header with its voxels) it is that of their checksums, in hexadecimal,
    joined by line feeds: channels in their order, a folder's files by checksum, so
    that other names for the same files are the same image.

    Raises
    ------
    UserError
        A file is not there or cannot be read.
    """
    digests = [_digest_of(path) for path in paths]
    return digests[0] if len(digests) == 1 else _joined(digests)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; `UserError` where it cannot be read."""
    try:
        with path.open("rb") as stream:
            digest = sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as err:
        raise UserError(f"{path}: {err.strerror or err}; check the path") from err
    return digest.hexdigest()


def kept_path(folder: Path, path: Path) -> str:
    """Path as a project keeps it: relative where it lies inside, else absolute."""
    whole = Path(os.path.realpath(path))
    try:
        return whole.relative_to(os.path.realpath(folder)).as_posix()
    except ValueError:
        return str(whole)


def full_path(folder: Path, kept: str) -> Path:
    """Absolute path of what `kept_path` gave, wherever the project lies now."""
    return folder / kept


def told_grid(grid: Grid) -> dict[str, Any]:
    """JSON of a grid."""
    return {
        "shape": list(grid.shape),
        "affine": grid.affine.matrix.tolist(),
        "has_spacing": grid.has_spacing,
        "has_sides": grid.has_sides,
        "named": list(grid.named),
    }


def grid_of(told: Mapping[str, Any]) -> Grid:
    """Grid of the JSON of `told_grid`."""
    z, y, x = told["shape"]
    plane, row, column = told["named"]
    return Grid(
        (z, y, x),
        Affine(told["affine"]),
        told["has_spacing"],
        told["has_sides"],
        (plane, row, column),
    )


def plain_source(grid: Grid, name: str) -> Source:
    """Source for what lies on a grid alone: saving must not need the image."""
    z, y, x = grid.shape
    return Source(
        paths=(),
        stem=name,
        format="array",
        shape=(x, y, z),
        dtype="uint8",
        affine=grid.affine if grid.has_spacing else None,
    )


def _digest_of(path: Path) -> str:
    if path.is_dir():
        return _joined(sorted(file_digest(one) for one in _files_in(path)))
    halves = _halves_of(path)
    if halves:
        return _joined([file_digest(one) for one in (path, *halves)])
    return file_digest(path)


def _joined(digests: Sequence[str]) -> str:
    return sha256("\n".join(digests).encode()).hexdigest()


def _files_in(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if name[0] != ".")


def _halves_of(path: Path) -> list[Path]:
    """The other files of an image of several, in order of name."""
    suffixes = next((s for s in _HALVES if path.suffix.lower() in s), None)
    if suffixes is None:
        return []
    names = {path.stem.lower() + suffix for suffix in suffixes}
    near = sorted(path.parent.glob("*")) if path.parent.is_dir() else []
    return [one for one in near if one.name.lower() in names and one != path]
