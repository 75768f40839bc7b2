"""What a tool works on: one class of a mask, within a box; and the change it makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Change, Region
from diffseg.errors import UserError

Box = tuple[slice, slice, slice]
"""A half-open box of a (Z, Y, X) array, with a start and a stop for every axis."""
Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Workpiece:
    """One class of a mask, and where it may be changed.

    Parameters
    ----------
    values : (Z, Y, X) uint8 ndarray
        The mask; a tool only reads it. 2D images have one plane.
    value : int
        The class, 1 to 255.
    spacing : (plane, row, column)
        In mm, > 0; ones where there are no millimetres.
    region : Region, optional
        Nothing outside is looked at or changed; the whole mask without it. Along an
        axis where it is one voxel thick, tools work in two dimensions.
    over : bool
        Whether voxels of other classes may be taken, too; else only background.
    name : str
        What the class is called in messages.

    Raises
    ------
    UserError
        `region` reaches out of the mask.
    ValueError
        `values` is not a mask, or `value` no class.
    """

    values: Labels
    value: int
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    region: Region | None = None
    over: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.dtype != np.uint8:
            raise ValueError(f"{self.values.dtype} of shape {self.values.shape}")
        if not 1 <= self.value <= 255 or min(self.spacing) <= 0:
            raise ValueError(f"class {self.value}, spacing {self.spacing}")
        if self.region is not None:
            z, y, x = self.values.shape
            self.region.checked((z, y, x))

    @property
    def box(self) -> Box:
        """Where it may be changed."""
        if self.region is not None:
            return self.region.slices
        z, y, x = (slice(0, size) for size in self.values.shape)
        return z, y, x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent of `box`."""
        z, y, x = (part.stop - part.start for part in self.box)
        return z, y, x

    @property
    def flat(self) -> tuple[int, ...]:
        """Axes along which `box` is one voxel thick."""
        return tuple(axis for axis, size in enumerate(self.shape) if size == 1)

    @property
    def steps(self) -> tuple[float, float, float]:
        """Spacing, infinite along the axes where `box` is one voxel thick."""
        z, y, x = (
            np.inf if axis in self.flat else step
            for axis, step in enumerate(self.spacing)
        )
        return float(z), float(y), float(x)

    @property
    def called(self) -> str:
        """The class in messages."""
        return self.name or f"class {self.value}"

    def mask(self, box: Box) -> Mask:
        """Where the class is, within a box."""
        own: Mask = self.values[box] == self.value
        return own

    def bounds(self, pad: Sequence[int] = (0, 0, 0)) -> Box:
        """The box around the class, wider by `pad` voxels but never beyond `box`.

        Raises
        ------
        UserError
            The class has no voxel in `box`.
        """
        found = bounds_of(self.values, self.value, self.box)
        if found is None:
            raise UserError(
                f"{self.called} is not drawn in this part of the mask; draw some of "
                "it first, or take a larger part"
            )
        return widened(found, pad, self.box)

    def change_to(self, box: Box, wanted: Mask, taking: Iterable[int] = (0,)) -> Change:
        """The change that makes the class be `wanted` within `box`.

        Parameters
        ----------
        wanted : bool ndarray of the box's shape
        taking : iterable of int
            Labels of which voxels may be taken; all of them where `over` is set.
            What the class leaves becomes background.
        """
        here = self.values[box]
        differs = (here == self.value) != wanted
        if not self.over:
            free = np.zeros(256, np.bool_)
            free[[*taking, self.value]] = True
            differs &= free[here]
        found = np.nonzero(differs)
        z, y, x = (
            (axis + part.start).astype(np.int32)
            for axis, part in zip(found, box, strict=True)
        )
        after = np.where(wanted[found], self.value, 0).astype(np.uint8)
        return Change((z, y, x), here[found], after)


def bounds_of(values: Labels, value: int, within: Box) -> Box | None:
    """The box around all voxels of a label within a box, or None without any.

    Plane by plane, so that no copy of the whole is made.
    """
    low = list(values.shape)
    high = [0, 0, 0]
    for plane in range(within[0].start, within[0].stop):
        there = values[plane, within[1], within[2]] == value
        rows = np.flatnonzero(there.any(axis=1))
        if not len(rows):
            continue
        columns = np.flatnonzero(there.any(axis=0))
        first = (plane, rows[0] + within[1].start, columns[0] + within[2].start)
        last = (plane, rows[-1] + within[1].start, columns[-1] + within[2].start)
        low = [min(a, int(b)) for a, b in zip(low, first, strict=True)]
        high = [max(a, int(b) + 1) for a, b in zip(high, last, strict=True)]
    if not high[0]:
        return None
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    return z, y, x


def widened(box: Box, pad: Sequence[int], within: Box) -> Box:
    """A box made wider by `pad` voxels to each side, never beyond `within`."""
    z, y, x = (
        slice(max(part.start - by, whole.start), min(part.stop + by, whole.stop))
        for part, by, whole in zip(box, pad, within, strict=True)
    )
    return z, y, x


def together(*boxes: Box | None) -> Box | None:
    """The box around several; None without any."""
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    z, y, x = (
        slice(min(p.start for p in parts), max(p.stop for p in parts))
        for parts in zip(*there, strict=True)
    )
    return z, y, x


def joined(changes: Sequence[Change]) -> Change:
    """Several changes of different voxels as one."""
    if not changes:
        none = np.zeros(0, np.int32)
        return Change((none, none, none), none.astype(np.uint8), none.astype(np.uint8))
    z, y, x = (np.concatenate([c.indices[axis] for c in changes]) for axis in range(3))
    before = np.concatenate([one.before for one in changes])
    return Change((z, y, x), before, np.concatenate([one.after for one in changes]))
