"""The panels that come after a result: result, review, correct, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, StructureReport
from napari_diffseg.views.editing import BrushRange, EditState, Target
from napari_diffseg.views.nouns import Intent, Leftover, Place, Severity, Shown, Tool


class ResultView(Protocol):
    """Panel "Result": volumes with spreads, legend, what is shown."""

    @property
    def view_chosen(self) -> Intent:
        """Shown."""

    @property
    def member_chosen(self) -> Intent:
        """Int."""

    @property
    def structure_chosen(self) -> Intent:
        """Int: value; go there."""

    @property
    def opacity_changed(self) -> Intent:
        """Float in [0, 1]."""

    @property
    def outline_toggled(self) -> Intent:
        """Bool."""

    def show_structures(
        self,
        rows: Sequence[tuple[Label, StructureReport]],
        note: str,
        word: str = "voxel",
    ) -> None:
        """Show volumes with their spread, and a note on what made them.

        `word` is what this image's voxels are called.
        """

    def set_views(self, available: Sequence[Shown], shown: Shown, members: int) -> None:
        """Offer what can be shown."""

    def show_warnings(self, warnings: Sequence[str]) -> None:
        """Show the proposal's warnings."""


class ReviewView(Protocol):
    """Panel "Review": the next place that deserves a look."""

    @property
    def next_requested(self) -> Intent:
        """No argument."""

    @property
    def previous_requested(self) -> Intent:
        """No argument."""

    @property
    def accept_requested(self) -> Intent:
        """No argument."""

    def show_place(
        self,
        place: Place | None,
        index: int,
        total: int,
        seen: int,
        *,
        accepted: bool = False,
        told: str = "",
    ) -> None:
        """Show the place at hand, or that there is none.

        `accepted`: it was looked at already. `told`: why a proposal has no places.
        """

    def show_strip(
        self,
        doubts: NDArray[np.float32],
        here: int,
        *,
        title: str = "",
        where: str = "",
        marks: Sequence[tuple[int, bool]] = (),
        seen: Sequence[int] = (),
    ) -> None:
        """Show the doubt of each slice (shown order) in [0, 1], and where we are.

        `title` names the plot, `where` the slice at hand in millimetres; `marks`
        are the slices of the places, and whether each was accepted; `seen` are
        slices that have been looked at.
        """

    @property
    def slice_chosen(self) -> Intent:
        """Int: shown slice index."""

    @property
    def lead_requested(self) -> Intent:
        """No argument: the slice, or the case, that deserves a look most."""

    def set_lead(self, usable: bool) -> None:
        """Whether there is a project to be led through."""


class CorrectView(Protocol):
    """Panel "Correct": tools and brush."""

    @property
    def tool_chosen(self) -> Intent:
        """Tool."""

    @property
    def brush_changed(self) -> Intent:
        """Float: radius in mm (voxels without millimetres)."""

    @property
    def brush_3d_toggled(self) -> Intent:
        """Bool."""

    @property
    def undo_requested(self) -> Intent:
        """No argument."""

    @property
    def redo_requested(self) -> Intent:
        """No argument."""

    @property
    def hide_toggled(self) -> Intent:
        """Bool: hide the mask."""

    @property
    def range_changed(self) -> Intent:
        """BrushRange: which intensities the brush paints."""

    @property
    def edit_changed(self) -> Intent:
        """Edit or None: the tool chosen, or one of its settings, is another."""

    @property
    def preview_requested(self) -> Intent:
        """Edit: show what it would change."""

    @property
    def apply_requested(self) -> Intent:
        """Edit: change it."""

    @property
    def edit_dropped(self) -> Intent:
        """No argument: show no change any more."""

    def set_target(self, target: Target) -> None:
        """Show what tools work on."""

    def show_edit(self, state: EditState) -> None:
        """Show how a tool gets on."""

    def set_range(self, wanted: BrushRange) -> None:
        """Show which intensities the brush paints without telling an intent."""

    def set_tool(self, tool: Tool) -> None:
        """Show the tool in hand without telling an intent."""

    def set_brush(self, radius: float, unit: str) -> None:
        """Show the brush's radius."""

    def set_enabled(self, enabled: bool, why_not: str) -> None:
        """Whether the mask can be edited, and if not why."""

    def show_saved(self, text: str) -> None:
        """Show when strokes were last saved on disk ("saved on disk 14:03:22")."""


class ExportView(Protocol):
    """Panel "Export": format, path, run."""

    @property
    def path_changed(self) -> Intent:
        """Str."""

    @property
    def format_chosen(self) -> Intent:
        """Str."""

    @property
    def run_requested(self) -> Intent:
        """No argument."""

    def set_formats(self, names: Sequence[str], current: str) -> None:
        """List what the current case can be written as."""

    def set_path(self, path: str) -> None:
        """Show where the mask will go."""

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether there is something to export."""

    def show_done(self, text: str) -> None:
        """Say what was written and where."""

    def ask_overwrite(self, path: Path) -> bool:
        """Ask whether a file that is there may be replaced."""


class RecoverView(Protocol):
    """The question after a crash."""

    def ask_recover(self, leftovers: Sequence[Leftover]) -> dict[str, bool] | None:
        """Ask for each id: take it up (True) or throw it away; None is later."""


class Notices(Protocol):
    """One line for the user, where they look."""

    def show(self, text: str, severity: Severity = "info") -> None:
        """Show one line."""
