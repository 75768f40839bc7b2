"""What presenters and views tell one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Scope = Literal["slice", "region", "volume"]
Shown = Literal["mask", "contours", "uncertainty", "member"]
Plane = Literal["axial", "coronal", "sagittal"]
Tool = Literal["paint", "erase", "fill", "polygon", "pick", "pan"]
Severity = Literal["info", "warning", "error"]


class Intent(Protocol):
    """A signal of a view, Qt's or psygnal's."""

    def connect(self, slot: Callable[..., Any], /) -> Any:
        """Call `slot` whenever the user shows this intent."""


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the case panel shows of an image, in words.

    `needs_spacing`: the file has none, so it may be given, and given anew.
    """

    name: str
    path: str
    size: str  # "182 x 218 x 182 voxels"
    spacing: str  # "1 x 1 x 1 mm" or "no millimetres"
    orientation: str  # "stored as RAS", or why it is not known
    kind: str  # "NIfTI, MR"
    warnings: tuple[str, ...] = ()
    needs_spacing: bool = False
    sides_known: bool = True  # whether planes and sides have the patient's names
    has_planes: bool = True  # False for a single picture


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One line of the list of models."""

    name: str  # id@version
    title: str


@dataclass(frozen=True, slots=True)
class Place:
    """A place that deserves a look: where, and in words why."""

    center: tuple[int, int, int]  # voxel (plane, row, column) of the source
    reason: str
    structure: str
    score: float  # larger is more doubtful


@dataclass(frozen=True, slots=True)
class Leftover:
    """Strokes that an earlier window left behind."""

    id: str
    name: str
    when: str  # "today 14:03"
    voxels: int
