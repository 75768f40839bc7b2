"""How a volume is shown: its axes turned to radiological habit, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from diffseg.volume.grid import Grid, Reorientation

Scalar = TypeVar("Scalar", bound=np.generic)
Point = tuple[float, float, float]

# File axes (i, j, k) run to the patient's left, back and feet: columns, rows and
# planes then show each of the three planes as a radiologist expects it, with the
# patient's right on the left of the screen and the head up.
RADIOLOGICAL = "LPI"
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}
_MUCH_THICKER = 1.5


@dataclass(frozen=True, slots=True)
class Display:
    """A grid as it is shown; nothing is resampled.

    Axes that are shown are (feet, back, left): plane, row, column of an axial
    slice. A picture without millimetres, and an image that does not say which of
    its sides is which, are shown as they are stored.

    Parameters
    ----------
    grid : Grid
        The source's own.
    shown : Grid
        The same voxels with their axes permuted and flipped.
    turn : Reorientation
        From arrays on `grid` to arrays on `shown`.
    """

    grid: Grid
    shown: Grid
    turn: Reorientation

    @classmethod
    def of(cls, grid: Grid) -> Display:
        """Turn `grid` to radiological habit, if it is known how to."""
        if not (grid.has_spacing and grid.has_sides):
            return cls(grid, grid, Reorientation())
        return cls(grid, *grid.reoriented(RADIOLOGICAL))

    @property
    def sides_known(self) -> bool:
        """Whether the shown axes are the patient's, and planes have their names."""
        return self.grid.has_spacing and self.grid.has_sides

    @property
    def scale(self) -> Point:
        """Spacing along the shown axes in mm; 1 without millimetres."""
        return self.shown.spacing_zyx if self.grid.has_spacing else (1.0, 1.0, 1.0)

    @property
    def translate(self) -> Point:
        """Place of the first shown voxel along the shown axes in mm; else 0."""
        if not self.sides_known:
            return (0.0, 0.0, 0.0)
        x, y, z = self.shown.affine.origin
        return (-z, -y, -x)

    @property
    def unit(self) -> str:
        """Unit of `scale`: mm or pixel."""
        return "mm" if self.grid.has_spacing else "pixel"

    @property
    def letters(self) -> tuple[str, str, str]:
        """Patient's side that each shown axis runs to, such as I, P, L; or ""."""
        if not self.sides_known:
            return self.grid.named
        code = self.shown.affine.orientation
        return (code[2], code[1], code[0])

    @property
    def ends(self) -> tuple[tuple[str, str], ...]:
        """Letters at the first and the last voxel of each shown axis."""
        return tuple((_OPPOSITE.get(one, ""), one) for one in self.letters)

    @property
    def slice_axis(self) -> int:
        """Shown axis to leaf through at first: a single plane, the thickest, or 0."""
        if min(self.shown.shape) == 1:
            return self.shown.shape.index(1)
        thickest = int(np.argmax(self.scale))
        others = max(s for axis, s in enumerate(self.scale) if axis != thickest)
        return thickest if self.scale[thickest] > _MUCH_THICKER * others else 0

    @property
    def oblique_deg(self) -> float:
        """Largest angle of a voxel axis to the patient's; 0 where that is unknown."""
        return self.grid.affine.obliqueness_deg if self.sides_known else 0.0

    def view(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Show (..., Z, Y, X) of the source: a view, so that edits land in it."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + a for a in self.turn.axes))
        steps = (slice(None, None, -1 if flip else None) for flip in self.turn.flips)
        return turned[(..., *steps)]

    def native_view(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn (..., Z, Y, X) as shown back to the source's axes: a view."""
        steps = (slice(None, None, -1 if flip else None) for flip in self.turn.flips)
        straight = array[(..., *steps)]
        lead = array.ndim - 3
        back = np.argsort(self.turn.axes)
        return straight.transpose(*range(lead), *(lead + int(a) for a in back))

    def shown_indices(
        self, native: Sequence[NDArray[np.integer]]
    ) -> tuple[NDArray[np.integer], ...]:
        """Indices (plane, row, column) of the source, as shown."""
        return tuple(
            (self.shown.shape[axis] - 1 - native[old]).astype(native[old].dtype)
            if flip
            else native[old]
            for axis, (old, flip) in enumerate(
                zip(self.turn.axes, self.turn.flips, strict=True)
            )
        )

    def native_indices(
        self, shown: Sequence[NDArray[np.integer]]
    ) -> tuple[NDArray[np.integer], ...]:
        """Indices as shown, on the source's own axes."""
        back: list[NDArray[np.integer]] = [shown[0]] * 3
        for axis, (old, flip) in enumerate(
            zip(self.turn.axes, self.turn.flips, strict=True)
        ):
            last = self.shown.shape[axis] - 1
            index = shown[axis]
            back[old] = (last - index).astype(index.dtype) if flip else index
        return tuple(back)

    def native_ranges(
        self, shown: Sequence[tuple[int, int]]
    ) -> tuple[tuple[int, int], ...]:
        """Half-open ranges as shown, on the source's own axes."""
        back: list[tuple[int, int]] = [(0, 0)] * 3
        for axis, (old, flip) in enumerate(
            zip(self.turn.axes, self.turn.flips, strict=True)
        ):
            start, stop = shown[axis]
            size = self.shown.shape[axis]
            back[old] = (size - stop, size - start) if flip else (start, stop)
        return tuple(back)

    def to_ras(self, shown: Sequence[float]) -> Point | None:
        """RAS+ mm of a shown index (plane, row, column); None without known sides."""
        if not self.sides_known:
            return None
        k, j, i = shown
        x, y, z = self.shown.affine @ np.array([i, j, k], dtype=np.float64)
        return (float(x), float(y), float(z))
