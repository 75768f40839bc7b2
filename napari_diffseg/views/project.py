"""The project: its list of cases, the case at hand, and labels by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, Presence
from diffseg.project.entries import CaseState, ProjectFacts, Row
from napari_diffseg.views.nouns import Intent

Column = Literal["name", "state", "labels", "dice", "who"]
"""What the list is sorted by."""


@dataclass(frozen=True, slots=True)
class CaseStatus:
    """How the project's case at hand stands.

    Parameters
    ----------
    name : str
    state : CaseState
    line : str
        Version, when it was saved, or what is wrong; in a line.
    unsaved : bool
        There is something to save.
    locked : bool
        It is only looked at.
    has_next, has_previous : bool
        Whether the list goes on.
    """

    name: str
    state: CaseState
    line: str = ""
    unsaved: bool = False
    locked: bool = False
    has_next: bool = False
    has_previous: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LabelStrip:
    """What is known of one structure along the shown slices.

    Parameters
    ----------
    label : Label
    whole : Presence
        Of the case.
    slices : (Z,) uint8 ndarray
        In shown order: 0 unknown, 1 present, 2 absent.
    begun : int, optional
        Shown slice at which a range was begun.
    """

    label: Label
    whole: Presence
    slices: NDArray[np.uint8]
    begun: int | None = None


class ProjectView(Protocol):
    """Panel "Project"."""

    @property
    def open_requested(self) -> Intent:
        """Str, str: folder, annotator ("" for the account's name)."""

    @property
    def create_requested(self) -> Intent:
        """Str, str: new folder, annotator."""

    @property
    def close_requested(self) -> Intent:
        """No argument."""

    @property
    def add_requested(self) -> Intent:
        """Sequence of str: images."""

    @property
    def case_requested(self) -> Intent:
        """Str: id of the project's case."""

    @property
    def step_requested(self) -> Intent:
        """Int: 1 for the next case of the list, -1 for the one before."""

    @property
    def sort_requested(self) -> Intent:
        """Column, bool: by what, and whether descending."""

    @property
    def sift_requested(self) -> Intent:
        """Str, str: part of a name; a state, or ""."""

    @property
    def save_requested(self) -> Intent:
        """No argument: the case at hand."""

    @property
    def state_chosen(self) -> Intent:
        """CaseState: of the case at hand."""

    def show_recent(self, folders: Sequence[str]) -> None:
        """Offer projects that were open lately."""

    def show_project(self, facts: ProjectFacts | None) -> None:
        """Show which project is open, or how to open one."""

    def show_rows(
        self, rows: Sequence[Row], dice: Mapping[str, float], current: str | None
    ) -> None:
        """Show these cases in this order; `current` is the id of the open one."""

    def show_case(self, status: CaseStatus | None) -> None:
        """Show how the case at hand stands."""

    def ask_taken(self, name: str, who: str, until: str) -> Literal["read", "wait", ""]:
        """Tell that somebody else works on a case: look at it, wait, or leave it."""


class PresenceView(Protocol):
    """Labels by slice: controls in "What is in it", and the strip below the canvas."""

    @property
    def starts_requested(self) -> Intent:
        """No argument: the structure in hand starts at the slice looked at."""

    @property
    def ends_requested(self) -> Intent:
        """No argument: it ends there."""

    @property
    def undo_requested(self) -> Intent:
        """No argument: take back what was said last."""

    @property
    def state_chosen(self) -> Intent:
        """Presence: what is said of a range."""

    @property
    def slice_chosen(self) -> Intent:
        """Int: shown slice."""

    def show_range(self, line: str, usable: bool, why_not: str) -> None:
        """Show what was begun, and whether ranges can be said here."""

    def show_strips(self, strips: Sequence[LabelStrip], here: int | None) -> None:
        """Show what is known by slice; `here` None where another plane is shown."""
