"""What presenters speak to: protocols, so that they run without a display.

A view tells intents (signals with ``connect``) and takes what it is to show
(``set_...``, ``show_...``). It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, ModelCard, Presence, Region, StructureReport
from diffseg.domain.preview import Preview
from diffseg.engine.events import Job, Listener, Machine
from diffseg.project.annotation import Change
from napari_diffseg.session import Busy, Case

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

    `loss` is a lasting warning about geometry (no spacing, oblique), or "".
    """

    name: str
    path: str
    size: str  # "182 x 218 x 182 voxels"
    spacing: str  # "1 x 1 x 1 mm" or "no millimetres"
    orientation: str  # "RAS, shown radiologically"
    kind: str  # "NIfTI, MR"
    warnings: tuple[str, ...] = ()
    needs_spacing: bool = False


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


class CaseView(Protocol):
    """Panel "Case": open images, geometry, display."""

    open_requested: Intent  # str: path(s) joined by ";", or "" to ask for files
    mask_requested: Intent  # str: path of a mask to correct, or "" to ask
    close_requested: Intent  # no argument: the current case
    case_chosen: Intent  # str: case id
    spacing_given: Intent  # float, float, float: mm of (plane, row, column)
    plane_chosen: Intent  # Plane
    radiological_toggled: Intent  # bool
    window_chosen: Intent  # str: name of a window/level preset

    def set_cases(self, cases: Sequence[tuple[str, str]], current: str | None) -> None:
        """List (id, name) of the open cases."""

    def show_facts(self, facts: CaseFacts | None) -> None:
        """Show the current case's facts, or the empty state."""

    def set_windows(self, names: Sequence[str], current: str | None) -> None:
        """List the window/level presets that fit the current case."""

    def ask_series(self, lines: Sequence[str]) -> int | None:
        """Ask which DICOM series to open; None if the user gave up."""


class LabelsView(Protocol):
    """Panel "What is in it": image-level labels, names, colours, the active one."""

    presence_given: Intent  # str, Presence
    label_chosen: Intent  # int: value to paint with
    renamed: Intent  # int, str: value, new name
    recolored: Intent  # int, str: value, "#rrggbb"
    added: Intent  # str: name of a new structure
    prompt_given: Intent  # str

    def show_labels(
        self, rows: Sequence[tuple[Label, Presence]], active: int, editable: bool
    ) -> None:
        """Show every structure of the current case; editable: names and rows."""

    def set_prompt(self, enabled: bool, why: str) -> None:
        """Whether words can be used, and if not why."""


class ModelView(Protocol):
    """Panel "Model": choice, card, licence, device."""

    model_chosen: Intent  # str: name
    device_chosen: Intent  # str: auto, cpu, cuda, mps
    card_requested: Intent  # no argument: show the whole card

    def set_models(self, choices: Sequence[ModelChoice], current: str) -> None:
        """List the models."""

    def show_card(self, card: ModelCard | None) -> None:
        """Show title, licence, data, limits and measured quality."""

    def show_machine(self, machine: Machine | None, state: str) -> None:
        """Show where models run; with a reason, lastingly, when on the CPU.

        `state` is "starting", "ready", or a line that says what is wrong.
        """


class ProposeView(Protocol):
    """Panel "Propose": scope, ensemble, run, cancel."""

    run_requested: Intent  # no argument: the current case
    run_all_requested: Intent  # no argument: every open case
    cancel_requested: Intent  # no argument
    scope_chosen: Intent  # Scope
    settings_changed: Intent  # int members, int steps, int seed

    def set_settings(self, members: int, steps: int, seed: int) -> None:
        """Show the ensemble's settings without telling an intent."""

    def set_scope(self, scope: Scope, note: str) -> None:
        """Show the scope, and in words what it covers or what is missing."""

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether a run can start, and if not what to do first."""

    def set_plan(self, text: str) -> None:
        """Show the estimate ("about 7 s, 1.1 GB"), or ""."""

    def set_busy(self, busy: Busy | None) -> None:
        """Show progress and the way to cancel, or that nothing runs."""

    def ask_replace(self, touched: int) -> bool | None:
        """Ask whether to replace what was drawn: keep (False), replace, give up."""


class ResultView(Protocol):
    """Panel "Result": volumes with spreads, legend, what is shown."""

    view_chosen: Intent  # Shown
    member_chosen: Intent  # int
    structure_chosen: Intent  # int: value; go there
    opacity_changed: Intent  # float in [0, 1]
    outline_toggled: Intent  # bool

    def show_structures(
        self, rows: Sequence[tuple[Label, StructureReport]], note: str
    ) -> None:
        """Show volumes with their spread, and a note on what made them."""

    def set_views(self, available: Sequence[Shown], shown: Shown, members: int) -> None:
        """Offer what can be shown."""

    def show_warnings(self, warnings: Sequence[str]) -> None:
        """Show the proposal's warnings."""


class ReviewView(Protocol):
    """Panel "Review": the next place that deserves a look."""

    next_requested: Intent
    previous_requested: Intent
    accept_requested: Intent

    def show_place(
        self, place: Place | None, index: int, total: int, seen: int
    ) -> None:
        """Show the place at hand, or that there is none."""

    def show_strip(self, doubts: NDArray[np.float32], here: int) -> None:
        """Show the doubt of each slice (shown order) in [0, 1], and where we are."""

    slice_chosen: Intent  # int: shown slice index


class CorrectView(Protocol):
    """Panel "Correct": tools and brush."""

    tool_chosen: Intent  # Tool
    brush_changed: Intent  # float: radius in mm (voxels without millimetres)
    brush_3d_toggled: Intent  # bool
    undo_requested: Intent
    redo_requested: Intent
    hide_toggled: Intent  # bool: hide the mask

    def set_tool(self, tool: Tool) -> None:
        """Show the tool in hand without telling an intent."""

    def set_brush(self, radius: float, unit: str) -> None:
        """Show the brush's radius."""

    def set_enabled(self, enabled: bool, why_not: str) -> None:
        """Whether the mask can be edited, and if not why."""

    def show_saved(self, text: str) -> None:
        """Show when strokes were last kept on disk ("kept 14:03:22")."""


class ExportView(Protocol):
    """Panel "Export": format, path, run."""

    path_changed: Intent  # str
    format_chosen: Intent  # str
    run_requested: Intent

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


class Canvas(Protocol):
    """The viewer with its layers. Layers may vanish at any time; calls cope."""

    case_deleted: Intent  # str: case id; the user deleted its image layer
    case_selected: Intent  # str: case id; the user selected one of its layers
    image_added: Intent  # object: an image layer that came from elsewhere
    image_renamed: Intent  # str, str: case id, new name
    edited: Intent  # str: case id; a stroke, fill, undo or redo just ended
    dirty: Intent  # str: case id; voxels of the mask may have changed
    moved: Intent  # no argument: another slice or plane is shown
    box_drawn: Intent  # str: case id
    tool_changed: Intent  # Tool
    label_changed: Intent  # int: value to paint with

    def show_case(self, case: Case) -> None:
        """Add the image and its editable mask, and look at it."""

    def forget_case(self, case_id: str) -> None:
        """Remove every layer of a case."""

    def look_at(self, case: Case) -> None:
        """Make a case's layers the visible ones and its mask the active layer."""

    def show_table(self, case: Case) -> None:
        """Give the mask the names and colours of the case's table."""

    def begin_preview(self, case: Case) -> None:
        """Make room for slices that appear while a proposal is made."""

    def show_preview(self, case: Case, preview: Preview) -> None:
        """Put slices there."""

    def end_preview(self, case_id: str) -> None:
        """Take them away."""

    def apply(self, case: Case, change: Change) -> None:
        """Change the mask as one undoable step; marks nothing as touched."""

    def show_proposal(self, case: Case) -> None:
        """Add or replace probability, uncertainty and contours, hidden at first."""

    def show_as(self, case: Case, shown: Shown, member: int = 0) -> None:
        """Show mask, contours, uncertainty or one member."""

    def set_outline(self, outline: bool) -> None:
        """Show the mask as an outline, or filled."""

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the mask in [0, 1]."""

    def set_hidden(self, hidden: bool) -> None:
        """Hide the current case's mask and all that lies on the image."""

    def set_plane(self, plane: Plane) -> None:
        """Look along another axis, with the cursor in the middle."""

    def set_radiological(self, radiological: bool) -> None:
        """Patient's right on the left of the screen, or on the right."""

    def set_window(self, case: Case, low: float, high: float) -> None:
        """Show intensities from `low` to `high`."""

    def set_tool(self, tool: Tool) -> None:
        """Put a tool into the user's hand."""

    def set_brush(self, case: Case, radius: float, three_d: bool) -> None:
        """Brush of a radius in mm (voxels without millimetres)."""

    def set_label(self, value: int) -> None:
        """Paint with this label."""

    def undo(self) -> None:
        """Undo the last step in the current mask."""

    def redo(self) -> None:
        """Do it again."""

    def go_to(self, case: Case, voxel: tuple[int, int, int]) -> None:
        """Show and centre a voxel (plane, row, column) of the source."""

    def slice_region(self, case: Case) -> Region:
        """The slice that is looked at, on the source's grid."""

    def box_region(self, case: Case) -> Region | None:
        """The box that the user drew, on the source's grid; None without one."""

    def start_box(self, case: Case) -> None:
        """Let the user draw a box."""


class Ticket(Protocol):
    """A job under way."""

    def cancel(self) -> None:
        """Ask it to stop; returns at once, and its last event is `Stopped`."""


class Runner(Protocol):
    """The engine, as presenters see it: listeners are called in the GUI's thread."""

    def propose(self, job: Job, listener: Listener) -> Ticket:
        """Start a proposal; returns at once."""

    def plan(self, job: Job, listener: Listener) -> Ticket:
        """Start an estimate; returns at once."""

    def warm(self, model: str = "") -> None:
        """Start the worker, and load a model into it; returns at once."""

    machine_found: Intent  # Machine
    state_changed: Intent  # str: "starting", "ready" or what is wrong, in a line
