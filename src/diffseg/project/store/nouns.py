"""What the store hands out: rows as frozen nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from diffseg.domain import LabelTable, Presence
from diffseg.volume import Grid

Row = Mapping[Any, Any]
"""A row of a table, by the names of its columns."""


class State(Enum):
    """How far the review of a case is."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    FLAGGED = "flagged"


class Role(Enum):
    """Whose reading it is: the annotator's, or that of who reads after them."""

    FIRST = "first"
    SECOND = "second"


@dataclass(frozen=True, slots=True)
class Case:
    """An image that is annotated, and what it was when it was added.

    Parameters
    ----------
    id : str
        Random; what files and the audit log name the case by.
    name : str
        The user's choice.
    paths : tuple of Path
        Absolute; one a channel.
    sha256 : str
        Of the image's files; see `diffseg.project.store.sources.checksum`.
    grid : Grid
    frame : int, optional
        Of a 4D image.
    series : str, optional
        DICOM SeriesInstanceUID.
    modality : str, optional
    added : datetime
    versions : int
        Corrections so far.
    """

    id: str
    name: str
    paths: tuple[Path, ...]
    sha256: str
    grid: Grid
    frame: int | None
    series: str | None
    modality: str | None
    added: datetime
    versions: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What an annotator said of a structure in a case or in a range of its slices.

    Parameters
    ----------
    id : int
        Rises in the order in which things were said.
    slices : (first, stop), optional
        Half-open, planes of the image; the whole case without it.
    """

    id: int
    label: str
    state: Presence
    slices: tuple[int, int] | None
    annotator: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredProposal:
    """A proposal in the project; never changed.

    Parameters
    ----------
    files : mapping of str to Path
        ``mask``, ``probability``, ``uncertainty``, ``report`` and, unless it was
        stored before there were any, ``slices``; absolute.
    """

    id: str
    case_id: str
    model_id: str
    model_version: str
    model_sha256: str
    seed: int
    members: int
    steps: int
    files: dict[str, Path]
    labels: LabelTable
    annotator: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Voxels of one class in a correction.

    Parameters
    ----------
    voxels : int
        That carry the class.
    changed : int
        That came to the class or left it, against what was corrected.
    """

    name: str
    value: int
    voxels: int
    changed: int


@dataclass(frozen=True, slots=True)
class Correction:
    """One version of a case's mask, as an annotator left it; never changed.

    Parameters
    ----------
    version : int
        1, 2, ... within the case, in the order of saving.
    parent : str, optional
        Id of the correction that it started from.
    proposal : str, optional
        Id of the latest proposal that went into it.
    file : Path
        The mask; absolute.
    touched_file : Path, optional
        Which voxels a person set, whatever stood there before.
    voxels : int
        That changed in all, against the parent, else the proposal, else nothing.
    role : Role
        Whose reading it is: versions of both are numbered together, and only the
        first's are the case's mask.
    beside : bool
        Somebody else's version was saved since the parent: both are kept, and
        the newest is this one. Known where it is saved; False afterwards.
    """

    id: str
    case_id: str
    version: int
    parent: str | None
    proposal: str | None
    file: Path
    sha256: str
    touched_file: Path | None
    touched_sha256: str | None
    classes: tuple[ClassCount, ...]
    voxels: int
    annotator: str
    session: str | None
    at: datetime
    role: Role = Role.FIRST
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """How far a case is, by whom, and what they noted.

    Parameters
    ----------
    correction : str, optional
        Id of the version that was the newest then.
    """

    case_id: str
    role: Role
    state: State
    comment: str = ""
    reviewer: str = ""
    correction: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a case, and until when nobody else may."""

    case_id: str
    annotator: str
    session: str | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a project's list."""

    id: str
    name: str
    modality: str | None
    added: datetime
    changed: datetime
    versions: int
    state: State
    reviewer: str
    second_state: State
    second_reader: str
    holder: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines of a project's list, and how many there are in all."""

    total: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit log; holds no name of a case and no path."""

    id: int
    at: datetime
    who: str
    action: str
    case_id: str | None
    subject: str | None
    voxels: int | None
    model_id: str | None
    model_version: str | None
    model_sha256: str | None
    seed: int | None
    details: dict[str, Any] = field(default_factory=dict)


def moment(seconds: float) -> datetime:
    """Local time of seconds since the epoch."""
    return datetime.fromtimestamp(seconds).astimezone()
