"""What the panel "Correct" and its presenter tell one another of tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

EditTool = Literal[
    "interpolate", "islands", "holes", "smooth", "margin", "combine", "copy", "member"
]
Paints = Literal["all", "start", "range"]
"""What a brush paints: all it covers, what is like the start of the stroke, a range."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A tool with its settings, as the user chose them.

    Parameters
    ----------
    tool : EditTool
    how : str
        The tool's own choice: ``largest`` or ``small``; ``volume`` or ``slices``;
        ``median`` or ``gaussian``; an operation; ``next`` or ``previous``;
        ``region`` or ``box``.
    size : float
        Its number: mm, mm³ or mm² (voxels without millimetres), slices, or which
        member, from 1.
    keep_volume : bool
        Smoothing keeps the volume.
    other : str
        What to combine with: a key of `Target.others`.
    into : int
        Value of the class that a combination goes to; 0 for the one in hand.
    whole : bool
        In the whole image, or only in the slice that is looked at.
    over : bool
        Voxels of other structures may be taken.
    """

    tool: EditTool
    how: str = ""
    size: float = 0.0
    keep_volume: bool = False
    other: str = ""
    into: int = 0
    whole: bool = True
    over: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What tools work on.

    Parameters
    ----------
    name : str
        The structure in hand; "" for none.
    others : sequence of (key, text)
        What it can be combined with.
    classes : sequence of (value, name)
        Where a combination can go to; the structure in hand first.
    unit : str
        "mm", or what a voxel is called, in the plural.
    flat : bool
        A single picture: there are no other slices.
    members : int
        Members of the proposal that can be taken from.
    """

    name: str = ""
    others: Sequence[tuple[str, str]] = ()
    classes: Sequence[tuple[int, str]] = ()
    unit: str = "mm"
    flat: bool = False
    members: int = 0


@dataclass(frozen=True, slots=True)
class EditState:
    """How a tool gets on.

    Parameters
    ----------
    said : str
        In a line: what would change, has changed, or is wrong.
    severity : {"quiet", "info", "warning"}
    busy : bool
        It is being computed.
    shown : bool
        What would change is shown, and can be made or dropped.
    """

    said: str = ""
    severity: Literal["quiet", "info", "warning"] = "quiet"
    busy: bool = False
    shown: bool = False


@dataclass(frozen=True, slots=True)
class BrushRange:
    """Which intensities a brush paints; `low` and `high` for a range."""

    paints: Paints = "all"
    low: float = 0.0
    high: float = 0.0
