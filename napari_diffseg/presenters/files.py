"""What a case's mask is written as, and where: checked, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, Proposal
from diffseg.domain.report import gives_pictures
from diffseg.errors import DiffsegError, UserError
from diffseg.volume import (
    Grid,
    Source,
    Volume,
    atomic_write_bytes,
    read_volume,
    write_mask,
)
from napari_diffseg.presenters.other_files import (
    OTHERS,
    others_of,
    suffix_of,
    write_other,
)
from napari_diffseg.presenters.sidecar import SCHEMA, provenance_of
from napari_diffseg.presenters.tables import counts_of
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.session import Case

SUFFIXES = {
    "NIfTI (.nii.gz)": ".nii.gz",
    "NIfTI (.nii)": ".nii",
    "PNG (.png)": ".png",
    **OTHERS,
}
"""Formats by name, with the suffix of their files."""

_VOLUMES = ("NIfTI (.nii.gz)", "NIfTI (.nii)")
_PICTURES = ("PNG (.png)", *_VOLUMES)
_AFFINE_MM = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A mask as it is at one moment, and where it is to go.

    Parameters
    ----------
    path : Path
    values : (Z, Y, X) uint8 ndarray
        A copy: strokes may go on meanwhile.
    labels : tuple of Label
    grid, source : Grid, Source
        The image's.
    image : Volume, optional
        For what is measured in it.
    proposal : Proposal, optional
        What the mask began as.
    whole : bool
        Whether the proposal is of the whole image.
    touched, changed : int
        Voxels that a person set, and voxels that differ from the proposal.
    """

    path: Path
    values: NDArray[np.uint8]
    labels: tuple[Label, ...]
    grid: Grid
    source: Source
    proposal: Proposal | None
    touched: int
    changed: int
    image: Volume | None = None
    whole: bool = True


def formats_of(case: Case) -> tuple[str, ...]:
    """Names of the formats that fit a case, the usual one first."""
    volume = case.volume
    pictures = gives_pictures(volume.grid, volume.source)
    usual = _PICTURES if pictures else _VOLUMES
    return (*usual, *others_of(volume.grid, volume.source))


def default_path(case: Case, suffix: str) -> Path:
    """``<stem>_mask<suffix>`` beside the image; in the home folder without a file.

    Where somebody else's file has that name, as a data set's own masks often do,
    ``<stem>_annotation_mask<suffix>``, with a number after "annotation" if need be.
    """
    source = case.volume.source
    folder = Path.home()
    if source.paths:
        first = Path(source.paths[0]).absolute()
        folder = first.parent
    middles = chain(("", "_annotation"), (f"_annotation{n}" for n in count(2)))
    paths = (folder / f"{source.stem}{one}_mask{suffix}" for one in middles)
    return next(path for path in paths if not _is_of_others(path))


def with_suffix(path: Path, suffix: str) -> Path:
    """The path with another of our suffixes."""
    name = path.name
    for known in SUFFIXES.values():
        if name.lower().endswith(known):
            name = name[: -len(known)]
            break
    return path.with_name(name + suffix)


def sidecar_of(path: Path) -> Path:
    """Path of the file that says where a mask came from."""
    return with_suffix(path, ".json")


def check_target(path: Path, source: Source, suffixes: Sequence[str]) -> None:
    """Refuse a path that must not, or cannot, be written.

    Raises
    ------
    UserError
        It is one of the image's own files, a folder, or has another suffix.
    """
    if not path.name.lower().endswith(tuple(suffixes)):
        raise UserError(f"{path.name}: give a name that ends in {', '.join(suffixes)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; add a file name")
    for one in source.paths:
        own = Path(one)
        if path.resolve() == own.resolve() or (own.is_file() and _same(path, own)):
            raise UserError(f"{path} is the image itself; give the mask another name")
        if own.is_dir() and own.resolve() in path.resolve().parents:
            raise UserError(
                f"{path} lies among the image's own slices; choose another folder"
            )


def snapshot(case: Case, path: Path) -> Export:
    """Take a case's mask as it is now."""
    note = case.annotation
    values = note.values.copy()
    changed = 0
    if note.proposed is not None:
        changed = int(np.count_nonzero(values != note.proposed))
    return Export(
        path=path,
        values=values,
        labels=case.table.labels,
        grid=case.volume.grid,
        source=case.volume.source,
        proposal=case.proposal,
        touched=int(np.count_nonzero(note.touched)),
        changed=changed,
        image=case.volume,
        whole=case.proposed_in is None,
    )


def write(export: Export) -> str:
    """Write a mask and its sidecar, read it back, and tell what is in it.

    Raises
    ------
    UserError
        The folder is not writable or full; nothing half written is left.
    DiffsegError
        What was written does not read back as what was meant.
    """
    path, sidecar = export.path, sidecar_of(export.path)
    asides = [one.with_name(f".new-{one.name}") for one in (path, sidecar)]
    text = json.dumps(provenance_of(export), indent=2, ensure_ascii=False) + "\n"
    try:  # what is there stays until the new files are known to be right
        if suffix_of(path):
            write_other(asides[0], export)
        else:
            _write_plain(asides[0], export)
        atomic_write_bytes(asides[1], text.encode())
        for aside, target in zip(asides, (path, sidecar), strict=True):
            aside.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that "
            "is writable and has space"
        ) from error
    except UserError as error:
        raise UserError(str(error).replace(".new-", "")) from error
    finally:
        for aside in asides:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
    return _told(export)


def _write_plain(aside: Path, export: Export) -> None:
    one_class = len(export.labels) == 1
    write_mask(aside, export.values, export.grid, export.source, one_class=one_class)
    _check(aside, export, one_class)


def is_sidecar(path: Path, mask: str | None = None) -> bool:
    """Whether a file is a sidecar that an earlier export wrote, of that mask."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    ours = isinstance(said, dict) and said.get("schema") == SCHEMA
    return ours and (mask is None or said.get("mask") == mask)


def _is_of_others(path: Path) -> bool:
    """Whether a mask or its sidecar is there that no export of ours wrote."""
    sidecar = sidecar_of(path)
    if path.exists():
        return not is_sidecar(sidecar, path.name)
    return sidecar.exists() and not is_sidecar(sidecar)


def _same(path: Path, own: Path) -> bool:
    try:
        return path.exists() and path.samefile(own)
    except OSError:
        return False


def _check(path: Path, export: Export, one_class: bool) -> None:
    back = read_volume(str(path))
    meant = export.values
    if path.name.lower().endswith(".png") and one_class:
        meant = np.where(meant > 0, np.uint8(255), np.uint8(0))
    trouble = ""
    if back.shape != export.values.shape:
        trouble = f"shape {back.shape} instead of {export.values.shape}"
    elif not np.array_equal(back.data[0], meant):
        trouble = "other voxels than the mask has"
    elif not back.grid.same_as(export.grid, _AFFINE_MM):
        trouble = "another place in space than the image has"
    elif _lost_spacing(path, back.grid, export.grid):
        trouble = "no millimetres where the image has some"
    if trouble:
        raise DiffsegError(
            f"{export.path.name} was not written: it read back with {trouble}; "
            "choose another format"
        )


def _lost_spacing(path: Path, back: Grid, meant: Grid) -> bool:
    # A picture has no place for millimetres.
    picture = path.name.lower().endswith(".png")
    return meant.has_spacing and not back.has_spacing and not picture


def _told(export: Export) -> str:
    counts, ml = counts_of(export.values), export.grid.voxel_ml
    known = {label.value: label.name for label in export.labels}
    word = voxel_word(export)
    parts = []
    for value in range(1, 256):
        voxels = int(counts[value])
        if not voxels:
            continue
        name = known.get(value, f"label {value}")
        volume = "" if ml is None else f" ({voxels * ml:.2f} ml)"
        parts.append(f"{name} {counted(voxels, word)}{volume}")
    return f"{export.path}: {', '.join(parts) or 'an empty mask'}"
