"""Slices as they are shown: which one is at hand, its number, where it lies."""

from __future__ import annotations

import numpy as np

from napari_diffseg.session import Case
from napari_diffseg.views import Canvas

_OBLIQUE_DEG = 0.5
_PLANES = {
    "S": "axial", "I": "axial", "A": "coronal", "P": "coronal",
    "L": "sagittal", "R": "sagittal",
}  # fmt: skip


def plane_word(case: Case, axis: int) -> str:
    """What slices along an axis of the source are called."""
    letter = case.display.letters[case.display.turn.axes.index(axis)]
    return f"{_PLANES[letter]} slice" if letter in _PLANES else "slice"


def where_of(case: Case, axis: int, here: int) -> str:
    """Where a shown slice lies, as the canvas writes it; "" for its number.

    Millimetres of an oblique slice differ within it, so it has none.
    """
    display, at = case.display, case.display.turn.axes.index(axis)
    shown = [0.0, 0.0, 0.0]
    shown[at] = float(here)
    ras = display.to_ras(shown)
    if ras is None or display.oblique_deg > _OBLIQUE_DEG:
        return ""
    side = "LPI".index(display.letters[at])
    value = ras[side]
    return f"{('RL', 'AP', 'SI')[side][value < 0]} {abs(value):.1f} mm"


def slice_at_hand(case: Case, canvas: Canvas) -> tuple[int, int]:
    """Axis of the source that slices are shown along, and the index on it."""
    region, shape = canvas.slice_region(case), case.volume.shape
    thin = [axis for axis in range(3) if region.shape[axis] == 1]
    axis = next((one for one in thin if shape[one] > 1), thin[0] if thin else 0)
    return axis, region.ranges[axis][0]


def flips(case: Case, axis: int) -> bool:
    """Whether slices along an axis of the source are shown in reverse."""
    turn = case.display.turn
    return turn.flips[turn.axes.index(axis)]


def flipped(case: Case, axis: int, index: int) -> int:
    """A slice of the source as shown, or a shown one of the source."""
    return case.volume.shape[axis] - 1 - index if flips(case, axis) else index


def voxel_in(case: Case, plane: int) -> tuple[int, int, int]:
    """The most doubtful voxel of a plane, else one that is drawn, else its middle."""
    proposal = case.proposal
    values = case.annotation.values[plane] if proposal is None else None
    found = proposal.uncertainty[plane] if proposal is not None else values
    assert found is not None
    if not found.any():
        return (plane, found.shape[0] // 2, found.shape[1] // 2)
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    return (plane, int(row), int(column))
