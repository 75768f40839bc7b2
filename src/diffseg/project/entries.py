"""What the window knows of a project: light nouns, which need no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, LabelTable, Presence, Proposal
from diffseg.volume import Volume

CaseState = Literal["not_started", "in_progress", "done", "flagged"]
"""How far the review of a case is."""

STATES: tuple[CaseState, ...] = ("not_started", "in_progress", "done", "flagged")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a mask in hand comes from.

    Parameters
    ----------
    case : str
        Id of the project's case.
    parent : str, optional
        Id of the correction that it started from.
    proposal : str, optional
        Id of the latest proposal that went into it.
    """

    case: str
    parent: str | None = None
    proposal: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One case in the list of a project.

    Parameters
    ----------
    labels : tuple of (str, Presence)
        What is known of the whole case, in the order in which it was first said.
    versions : int
        Corrections so far.
    who : str
        Who works on it now, else who reviewed it last; "" for nobody.
    held : bool
        Whether somebody works on it now.
    changed : float
        When something was last said or saved of it, in seconds since the epoch.
    """

    id: str
    name: str
    state: CaseState
    labels: tuple[tuple[str, Presence], ...]
    versions: int
    who: str
    held: bool
    changed: float


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What is known of one structure in a case.

    Parameters
    ----------
    whole : Presence
        Of the case.
    slices : (Z,) uint8 ndarray
        Of each plane: 0 unknown, 1 present, 2 absent.
    """

    whole: Presence
    slices: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody else works on a case."""

    who: str
    until: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A case that was opened, as it was left.

    Parameters
    ----------
    values, touched : (Z, Y, X) ndarray
        The newest correction, else the newest proposal, else nothing.
    proposal : Proposal, optional
        The newest one; its members are not kept.
    table : LabelTable, optional
        The project's; None while it has none.
    locked : str
        Why the mask may not be changed here; "" where it may.
    errors : (Z,) float32 ndarray, optional
        1 - expected Dice of each plane of the proposal.
    seen : tuple of (int, int)
        Axis and index of the slices that the annotator has looked at.
    """

    origin: Origin
    name: str
    volume: Volume
    frame: int | None
    values: NDArray[np.uint8]
    touched: NDArray[np.bool_]
    proposal: Proposal | None
    table: LabelTable | None
    said: Mapping[str, Said]
    state: CaseState
    version: int
    seen: tuple[tuple[int, int], ...] = ()
    locked: str = ""
    errors: NDArray[np.float32] | None = None

    @property
    def labels(self) -> ImageLabels:
        """What is known of the whole case."""
        return labels_of(self.said)


@dataclass(frozen=True, slots=True)
class Saved:
    """A version of a mask that was saved.

    Parameters
    ----------
    beside : bool
        Somebody else's version was saved since the one that it started from.
    """

    id: str
    version: int
    voxels: int
    beside: bool


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A proposal that was kept, and 1 - expected Dice of each of its planes."""

    id: str
    errors: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Advised:
    """Where a look is deserved most: a case, and a plane of it where one is known."""

    case: str
    plane: int | None


@dataclass(frozen=True, slots=True)
class Agreed:
    """How far two readings agree on one structure; `hd95_mm` None where undefined."""

    name: str
    dice: float
    hd95_mm: float | None


@dataclass(frozen=True, slots=True)
class Readings:
    """How the readings of a case stand, as one annotator may know of them.

    Parameters
    ----------
    second : bool
        Whether this annotator's reading is the second.
    comment : str
        Of this annotator's reading.
    closed : str
        Why the comment may not be changed by this annotator; "" where it may.
    refused : str
        Why this annotator may not begin a second reading; "" where they may.
    readers : tuple of str
        Who read it first, and second where one was begun.
    agreed : tuple of Agreed
        By structure, once both readings are done.
    """

    second: bool = False
    comment: str = ""
    closed: str = ""
    refused: str = ""
    readers: tuple[str, ...] = ()
    agreed: tuple[Agreed, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """An open project in words and numbers."""

    name: str
    folder: Path
    annotator: str
    total: int = 0
    states: Mapping[CaseState, int] = field(default_factory=dict)


def labels_of(said: Mapping[str, Said]) -> ImageLabels:
    """Image-level labels of a whole case; what is unknown is left out."""
    states = {name: one.whole for name, one in said.items()}
    known = {k: v for k, v in states.items() if v is not Presence.UNKNOWN}
    return ImageLabels(known)
