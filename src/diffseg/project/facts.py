"""What the journal notes of a case beside its voxels: which image, which labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffseg.domain import ImageLabels, LabelTable, Presence
from diffseg.errors import DiffsegError
from diffseg.project.entries import Origin
from diffseg.project.records import DamagedError
from diffseg.volume import Affine, Grid, Volume, atomic_write_bytes

FILE = "case.json"
_MOST_FILES = 5000
"""Of a folder's files no more are asked for their size; a share may be slow."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file or folder was: how many files, their size, the newest's time."""

    files: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """A case without its voxels.

    Parameters
    ----------
    name : str
        As shown.
    paths : tuple of str
        Absolute paths of the image; () for one that came from memory.
    grid : Grid
    table : LabelTable
    labels : ImageLabels
    frame : int, optional
    series : str, optional
        DICOM SeriesInstanceUID.
    stamps : tuple of Stamp or None
        One a path; None where there was no such file.
    closed : bool
        The window was closed in order.
    exported : int
        Sequence number of the last record that an exported file holds; 0: none.
    origin : Origin, optional
        Case, version and proposal of a project that the mask comes from.
    """

    name: str
    paths: tuple[str, ...]
    grid: Grid
    table: LabelTable
    labels: ImageLabels
    frame: int | None = None
    series: str | None = None
    stamps: tuple[Stamp | None, ...] = ()
    closed: bool = False
    exported: int = 0
    origin: Origin | None = None

    @classmethod
    def of(
        cls,
        name: str,
        volume: Volume,
        table: LabelTable,
        labels: ImageLabels,
        frame: int | None,
    ) -> CaseFacts:
        """Facts of an open case; does not touch the image's files."""
        source = volume.source
        paths = tuple(os.path.realpath(path) for path in source.paths)
        return cls(name, paths, volume.grid, table, labels, frame, source.series_uid)

    def stamped(self) -> CaseFacts:
        """Return the facts with the stamps that the files have now."""
        return replace(self, stamps=tuple(stamp_of(path) for path in self.paths))

    def changes(self) -> tuple[str, ...]:
        """Say in a line each what has become of the image's files."""
        lines = []
        for path, stamp in zip(self.paths, self.stamps, strict=False):
            now = stamp_of(path)
            if now is None:
                lines.append(f"the image {path} is no longer there")
            elif now != stamp:
                lines.append(f"the image {path} has changed since")
        return tuple(lines)


def stamp_of(path: str) -> Stamp | None:
    """Stamp of a file, or of the files right in a folder; None without one."""
    try:
        if not os.path.isdir(path):
            facts = os.stat(path)
            return Stamp(1, facts.st_size, facts.st_mtime_ns)
        with os.scandir(path) as entries:
            found = sorted((e for e in entries if e.is_file()), key=lambda e: e.name)
        stats = [entry.stat() for entry in found[:_MOST_FILES]]
    except OSError:
        return None
    newest = max((facts.st_mtime_ns for facts in stats), default=0)
    return Stamp(len(found), sum(facts.st_size for facts in stats), newest)


def write_facts(folder: Path, facts: CaseFacts) -> None:
    """Write the facts of a case; `UserError` where they cannot be."""
    told = {
        "name": facts.name,
        "paths": facts.paths,
        "frame": facts.frame,
        "series": facts.series,
        "grid": {
            "shape": facts.grid.shape,
            "affine": facts.grid.affine.matrix.tolist(),
            "has_spacing": facts.grid.has_spacing,
            "has_sides": facts.grid.has_sides,
        },
        "stamps": [
            s and [s.files, s.size, s.modified_ns]  # null where there was no file
            for s in facts.stamps
        ],
        "table": facts.table.model_dump(mode="json"),
        "labels": {name: state.value for name, state in facts.labels.items()},
        "closed": facts.closed,
        "exported": facts.exported,
        "origin": facts.origin and asdict(facts.origin),
    }
    text = json.dumps(told, ensure_ascii=False, indent=1)
    atomic_write_bytes(folder / FILE, text.encode("utf-8", "surrogateescape"))


def read_facts(folder: Path) -> CaseFacts:
    """Read the facts of a case.

    Raises
    ------
    DamagedError
        They are not there, or not as they were written.
    """
    try:
        text = (folder / FILE).read_bytes().decode("utf-8", "surrogateescape")
        return _facts(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as err:
        raise DamagedError(f"{FILE}: {err}") from err
    except DiffsegError as err:
        raise DamagedError(f"{FILE}: {err}") from err


def _facts(told: Mapping[str, Any]) -> CaseFacts:
    z, y, x = (int(extent) for extent in told["grid"]["shape"])
    grid = Grid(
        (z, y, x),
        Affine(told["grid"]["affine"]),
        bool(told["grid"]["has_spacing"]),
        bool(told["grid"].get("has_sides", True)),
    )
    labels = {name: Presence(state) for name, state in told["labels"].items()}
    return CaseFacts(
        name=str(told["name"]),
        paths=tuple(told["paths"]),
        grid=grid,
        table=LabelTable.model_validate(told["table"]),
        labels=ImageLabels(labels),
        frame=told["frame"],
        series=told["series"],
        stamps=tuple(_stamp(stamp) for stamp in told["stamps"]),
        closed=bool(told["closed"]),
        exported=int(told["exported"]),
        origin=Origin(**told["origin"]) if told.get("origin") else None,
    )


def _stamp(told: Sequence[int] | None) -> Stamp | None:
    return None if told is None else Stamp(*told)
