"""Masks lie beside the database, named by ids, whole or not there.

``masks/CASE/c-ID.nii.gz`` is a correction, ``c-ID-touched.nii.gz`` which voxels a
person set; ``masks/CASE/p-ID/`` holds a proposal's ``mask``, ``probability``,
``uncertainty`` and ``report.json``, which is written last. What a mask is, is in its
header, too: it can be told without the database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.project.store.nouns import Role
from diffseg.project.store.sources import file_digest, plain_source
from diffseg.volume import Grid, read_mask, write_mask

FOLDER = "masks"
_ID = r"[0-9a-f]{16}"
_MASK = re.compile(rf"masks/({_ID})/c-({_ID})(-touched)?\.nii\.gz")
_REPORT = re.compile(rf"masks/({_ID})/p-({_ID})/report\.json")
_TOLD = re.compile(rf"diffseg (correction|second reading) ({_ID}) after ({_ID}|none)")


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the project: its path within the folder, and its SHA-256."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file's name tells: of which case, and of which row.

    Parameters
    ----------
    kind : str
        ``correction``, ``touched`` or ``report``.
    """

    kind: str
    case_id: str
    id: str


def name_of(file: str) -> FileName | None:
    """Read the name of a file within the project; None for one that is not ours."""
    match = _MASK.fullmatch(file)
    if match:
        return FileName("touched" if match[3] else "correction", match[1], match[2])
    match = _REPORT.fullmatch(file)
    return FileName("report", match[1], match[2]) if match else None


def correction_file(case_id: str, id: str, touched: bool = False) -> str:
    """Path of a correction's mask within the project."""
    return f"{FOLDER}/{case_id}/c-{id}{'-touched' if touched else ''}.nii.gz"


def proposal_folder(case_id: str, id: str) -> str:
    """Path of a proposal's folder within the project."""
    return f"{FOLDER}/{case_id}/p-{id}"


def write_labels(
    folder: Path, file: str, values: NDArray[np.uint8], grid: Grid, told: str
) -> Written:
    """Write a mask into a project; it is on the disk once this returns.

    Parameters
    ----------
    folder : Path
        Of the project.
    file : str
        Path within it.
    values : (Z, Y, X) uint8 ndarray
    grid : Grid
        Of the case.
    told : str
        For the header, at most 79 characters.

    Raises
    ------
    UserError
        The disk is full, or the folder cannot be written to; nothing is left.
    """
    path = folder / file
    write_mask(path, values, grid, plain_source(grid, path.name), told)
    return Written(file, file_digest(path))


def told_of(id: str, parent: str | None, role: Role = Role.FIRST) -> str:
    """What a correction's header says of it."""
    what = "correction" if role is Role.FIRST else "second reading"
    return f"diffseg {what} {id} after {parent or 'none'}"


def parent_told(path: Path) -> str | None:
    """Parent of a correction, as its header has it; None without one."""
    match = _told(path)
    return match[3] if match and match[3] != "none" else None


def role_told(path: Path) -> Role:
    """Whose reading a correction is, as its header has it."""
    match = _told(path)
    second = match is not None and match[1] == "second reading"
    return Role.SECOND if second else Role.FIRST


def _told(path: Path) -> re.Match[str] | None:
    from diffseg.volume import Volume

    header = Volume.read(path).source.header
    said = bytes(header["descrip"]).decode("ascii", "replace").rstrip("\0")
    return _TOLD.match(said)


def read_labels(path: Path, sha256: str, grid: Grid) -> NDArray[np.uint8]:
    """Read a mask of the project, (Z, Y, X), once its checksum has been compared.

    Raises
    ------
    UserError
        It is missing, was changed since, or lies on another grid.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; see diffseg project check")
    if file_digest(path) != sha256:
        raise UserError(
            f"{path} was changed outside of the project; see diffseg project check"
        )
    values = read_mask(path)
    if values.shape != grid.shape:
        raise UserError(f"{path} is not on its case's grid {grid.shape}")
    return values
