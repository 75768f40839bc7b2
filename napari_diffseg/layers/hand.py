"""What the user has in hand: tool, label, brush; and how masks look."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from napari_diffseg.layers.stack import Stack
from napari_diffseg.layers.watch import MODES
from napari_diffseg.views import BrushRange, Tool

_THICK_FROM = 800  # voxels of a slice's smaller side, from which a line is wider


@dataclass(slots=True)
class Hand:
    """Goes from case to case with the user.

    Parameters
    ----------
    tool : Tool
    label : int
        Value to paint with.
    radius : float, optional
        Of the brush in mm (voxels without millimetres); napari's own at first.
    three_d : bool
        Whether the brush is a ball.
    outline : bool
        Whether masks are shown as lines.
    opacity : float
        Of masks, in [0, 1].
    hidden : bool
        Whether all that lies on an image is hidden.
    range : BrushRange
        Which intensities a brush paints.
    """

    tool: Tool = "pan"
    label: int = 1
    radius: float | None = None
    three_d: bool = False
    outline: bool = False
    opacity: float = 0.5
    hidden: bool = False
    range: BrushRange = field(default_factory=BrushRange)

    def note_tool(self, tool: Tool) -> None:
        """The user took another tool, in napari's own controls."""
        self.tool = tool

    def note_label(self, value: int) -> None:
        """The user took another label there."""
        self.label = value

    def take_up(self, stack: Stack) -> None:
        """Give tool and label to a case's mask; only a hand that pans if locked."""
        mask = stack.mask
        if mask is None:
            return
        mask.editable = stack.case.locked is None
        values = stack.case.table.values
        wanted = self.label if self.label in (0, *values) else values[0]
        if mask.selected_label != wanted:
            mask.selected_label = wanted
        usable = mask.editable and mask.visible
        mode = MODES[self.tool if usable else "pan"]
        if str(mask.mode) != mode:
            mask.mode = mode

    def size(self, stack: Stack, in_slice: tuple[int, ...]) -> None:
        """Give the brush's size to a case's mask; `in_slice` are the slice's axes."""
        mask = stack.mask
        if mask is None:
            return
        mask.n_edit_dimensions = 3 if self.three_d else 2
        if self.radius is not None:
            mask.brush_size = self._brush_size(stack.case.display.scale, in_slice)

    def line(self, stack: Stack) -> int:
        """Thickness of a line in voxels that can be seen in a slice."""
        sides = sorted(stack.case.display.shown.shape)
        return 1 + sides[-2] // _THICK_FROM

    def _brush_size(
        self, scale: tuple[float, float, float], in_slice: tuple[int, ...]
    ) -> int:
        """Diameter in voxels of the smallest side; odd, as napari's radius is n + ½."""
        assert self.radius is not None
        axes = (0, 1, 2) if self.three_d else in_slice
        radius = self.radius / min(scale[axis] for axis in axes)
        return max(1, 2 * math.floor(radius) + 1)
