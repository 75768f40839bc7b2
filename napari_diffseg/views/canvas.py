"""The viewer with its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal, Region
from diffseg.domain.preview import Preview
from diffseg.project.annotation import Change
from napari_diffseg.session import Case
from napari_diffseg.views.editing import BrushRange
from napari_diffseg.views.nouns import Intent, Plane, Shown, Tool


class Canvas(Protocol):
    """The viewer with its layers. Layers may vanish at any time; calls cope."""

    @property
    def case_deleted(self) -> Intent:
        """Str: case id; the user deleted its image layer."""

    @property
    def case_selected(self) -> Intent:
        """Str: case id; the user selected one of its layers."""

    @property
    def image_added(self) -> Intent:
        """Object: an image layer that came from elsewhere."""

    @property
    def image_renamed(self) -> Intent:
        """Str, str: case id, new name."""

    @property
    def edited(self) -> Intent:
        """Str: case id; a stroke, fill, undo or redo just ended."""

    @property
    def dirty(self) -> Intent:
        """Str: case id; voxels of the mask may have changed."""

    @property
    def moved(self) -> Intent:
        """No argument: another slice or plane is shown."""

    @property
    def box_drawn(self) -> Intent:
        """Str: case id."""

    @property
    def tool_changed(self) -> Intent:
        """Tool."""

    @property
    def label_changed(self) -> Intent:
        """Int: value to paint with."""

    def show_case(self, case: Case) -> None:
        """Add the image and its editable mask, and look at it."""

    def replace_image(self, case: Case, *layers: Any) -> None:
        """Show a case in place of the image layers that it was made of."""

    def forget_case(self, case_id: str) -> None:
        """Remove every layer of a case."""

    def look_at(self, case: Case) -> None:
        """Make a case's layers the visible ones and its mask the active layer."""

    def show_table(self, case: Case) -> None:
        """Give the mask the names and colours of the case's table."""

    def forget_history(self, case: Case) -> None:
        """Nothing of what was drawn so far can be undone, or done again."""

    def tell_images(self) -> None:
        """Tell of each image layer that is no case's as if it were just added."""

    def holds(self, layer: Any) -> bool:
        """Whether a layer is still in the viewer."""

    def begin_preview(self, case: Case) -> None:
        """Make room for slices that appear while a proposal is made."""

    def show_preview(self, case: Case, preview: Preview) -> None:
        """Put slices there."""

    def end_preview(self, case_id: str) -> None:
        """Take them away."""

    def apply(self, case: Case, change: Change) -> None:
        """Change the mask as one undoable step; marks nothing as touched."""

    def correct(self, case: Case, change: Change) -> None:
        """Change the mask as one undoable step that a person made."""

    def show_edit(self, case: Case, change: Change) -> None:
        """Show what a change would do, in a layer that is never saved."""

    def end_edit(self, case_id: str) -> None:
        """Take that away."""

    def show_compared(self, case: Case, values: NDArray[np.uint8], words: str) -> None:
        """Show another mask of a case as lines, in a layer that is never saved."""

    def end_compared(self, case_id: str) -> None:
        """Take that away."""

    def prepare_proposal(self, case: Case, proposal: Proposal) -> None:
        """Do ahead what `show_proposal` has to compute; in any thread."""

    def show_proposal(self, case: Case, done: Callable[[], Any] | None = None) -> None:
        """Add or replace probability, uncertainty and contours, hidden at first.

        With `done` one after another while the window lives; it is called at last.
        """

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

    def set_range(self, wanted: BrushRange) -> None:
        """Let brushes paint these intensities only."""

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

    def voxel_at_hand(self, case: Case) -> tuple[int, int, int]:
        """The voxel (plane, row, column) of the source last pressed or gone to."""

    def slice_axis(self, case: Case) -> int:
        """Axis of the source along which one leafs: 0 plane, 1 row, 2 column."""

    def box_region(self, case: Case) -> Region | None:
        """The box that the user drew, on the source's grid; None without one."""

    def start_box(self, case: Case) -> None:
        """Let the user draw a box."""
