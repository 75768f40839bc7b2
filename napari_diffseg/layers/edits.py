"""Steps of a mask that can be undone: small, exact, and bounded in number and bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.project.annotation import Annotation, Change
from diffseg.volume import Display

Box = tuple[slice, slice, slice]
Bits = NDArray[np.uint8]

LIMIT_BYTES = 256 * 2**20
LIMIT_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one stroke, fill or proposal changed, on the source's grid.

    Parameters
    ----------
    box : tuple of slice
        The box around all that changed.
    where : (n,) uint8 ndarray
        Which voxels of the box did, one bit each.
    before, after : (N,) uint8 ndarrays
        Their labels in array order; a single one where all are the same.
    was_touched : (m,) uint8 ndarray
        Whether a person had set them before, one bit each.
    by_person : bool
        Whether a person has set them now.
    """

    box: Box
    where: Bits
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    was_touched: Bits
    by_person: bool

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        parts = (self.where, self.before, self.after, self.was_touched)
        return sum(part.nbytes for part in parts)

    def undo(self, annotation: Annotation) -> None:
        """Bring back the labels and marks of before."""
        inside = self._inside()
        annotation.values[self.box][inside] = self.before
        touched = _unpacked(self.was_touched, int(np.count_nonzero(inside)))
        annotation.touched[self.box][inside] = touched

    def redo(self, annotation: Annotation) -> None:
        """Make the change again."""
        inside = self._inside()
        annotation.values[self.box][inside] = self.after
        annotation.touched[self.box][inside] = self.by_person

    def _inside(self) -> NDArray[np.bool_]:
        shape = tuple(part.stop - part.start for part in self.box)
        return _unpacked(self.where, int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """Voxels that were just painted, and what stood there before.

    Parameters
    ----------
    box : tuple of slice
        On the source's grid.
    inside : bool ndarray of the box's shape
        Which voxels.
    before : uint8 ndarray of the box's shape
        Labels of the whole box before.
    """

    box: Box
    inside: NDArray[np.bool_]
    before: NDArray[np.uint8]


class History:
    """Steps that can be undone and done again; the oldest are dropped first.

    Parameters
    ----------
    limit_bytes : int
        Memory of all steps together; the newest is kept even where it alone
        takes more.
    limit_steps : int
        Their number.
    """

    def __init__(
        self, limit_bytes: int = LIMIT_BYTES, limit_steps: int = LIMIT_STEPS
    ) -> None:
        self._done: deque[Step] = deque()
        self._undone: deque[Step] = deque()
        self._limits = (limit_bytes, limit_steps)

    def __len__(self) -> int:
        return len(self._done)

    @property
    def nbytes(self) -> int:
        """Memory of all steps."""
        return sum(step.nbytes for step in (*self._done, *self._undone))

    def push(self, step: Step) -> None:
        """Take up a step that was just made."""
        self._undone.clear()
        self._done.append(step)
        limit_bytes, limit_steps = self._limits
        total = self.nbytes
        while len(self._done) > 1 and (
            total > limit_bytes or len(self._done) > limit_steps
        ):
            total -= self._done.popleft().nbytes

    def clear(self) -> None:
        """Forget every step."""
        self._done.clear()
        self._undone.clear()

    def back(self) -> Step | None:
        """The step to undo now, or None."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def forth(self) -> Step | None:
        """The step to do again now, or None."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]


def painted(
    atoms: Sequence[Any], shown: NDArray[np.uint8], display: Display
) -> Painted | None:
    """Read what napari tells of a stroke that it has just painted into `shown`.

    Parameters
    ----------
    atoms : sequence
        Value of the event `paint` of a Labels layer, oldest first.
    shown : (Z, Y, X) uint8 ndarray
        The layer's data, painted.
    display : Display
        From the source's grid to the layer's data.
    """
    boxes = [_box_of(atom, shown.shape) for atom in atoms]
    if not boxes:
        return None
    ranges = [
        (min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(3)
    ]
    whole = tuple(slice(*one) for one in ranges)
    before = shown[whole].copy()
    inside = np.zeros(before.shape, np.bool_)
    for atom, box in zip(reversed(atoms), reversed(boxes), strict=True):
        part = tuple(
            slice(one.start - start, one.stop - start)
            for one, (start, _) in zip(box, ranges, strict=True)
        )
        _put_back(atom, box, before[part], inside[part])
    z, y, x = (slice(*one) for one in display.native_ranges(ranges))
    return Painted((z, y, x), display.native_view(inside), display.native_view(before))


def stroke_step(annotation: Annotation, painted: Painted) -> Step:
    """The step of a stroke that stands in the mask already; marks it as touched."""
    box, inside = painted.box, np.ascontiguousarray(painted.inside)
    step = Step(
        box,
        np.packbits(inside),
        _short(painted.before[inside]),
        _short(annotation.values[box][inside]),
        np.packbits(annotation.touched[box][inside]),
        by_person=True,
    )
    annotation.touched[box][inside] = True
    return step


def make_change(
    annotation: Annotation,
    change: Change,
    *,
    by_person: bool = False,
    spare: Painted | None = None,
) -> Step | None:
    """Make a change in the mask and return its step; None where nothing changed.

    Parameters
    ----------
    by_person : bool
        Mark the voxels as touched; otherwise as not touched (any more).
    spare : Painted, optional
        Voxels to leave as they are: the stroke under way.
    """
    if not len(change):
        return None
    ranges = [(int(axis.min()), int(axis.max()) + 1) for axis in change.indices]
    z, y, x = (slice(*one) for one in ranges)
    box = (z, y, x)
    inside = np.zeros(tuple(stop - start for start, stop in ranges), np.bool_)
    offsets = [start for start, _ in ranges]
    index = tuple(
        axis - start for axis, start in zip(change.indices, offsets, strict=True)
    )
    inside[index] = True
    after = annotation.values[box].copy()
    after[index] = change.after
    if spare is not None:
        drawn = np.zeros(annotation.values.shape, np.bool_)
        drawn[spare.box] = spare.inside
        inside &= ~drawn[box]
    step = Step(
        box,
        np.packbits(inside),
        _short(annotation.values[box][inside]),
        _short(after[inside]),
        np.packbits(annotation.touched[box][inside]),
        by_person=by_person,
    )
    step.redo(annotation)
    return step


def difference(values: NDArray[np.uint8], wanted: NDArray[Any]) -> Change:
    """The change that makes `wanted` of `values`, both (Z, Y, X)."""
    z, y, x = (axis.astype(np.int32) for axis in np.nonzero(values != wanted))
    where = (z, y, x)
    return Change(where, values[where], wanted[where].astype(np.uint8))


def _box_of(atom: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where an atom of napari's history lies: in a box, or at indices."""
    if hasattr(atom, "slice_key"):
        return tuple(
            slice(*part.indices(size)[:2])
            for part, size in zip(atom.slice_key, shape, strict=True)
        )
    return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in atom[0])


def _put_back(
    atom: Any,
    box: tuple[slice, ...],
    before: NDArray[np.uint8],
    inside: NDArray[np.bool_],
) -> None:
    """Put an atom's old labels into `before`, and note where they were."""
    if not hasattr(atom, "slice_key"):
        index = tuple(
            axis - part.start for axis, part in zip(atom[0], box, strict=True)
        )
        before[index], inside[index] = atom[1], True
    elif atom.mask is None:
        before[...], inside[...] = atom.old_values, True
    else:
        before[atom.mask], inside[atom.mask] = atom.old_values, True


def _short(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One label in place of many that are the same; it broadcasts."""
    same = labels.size > 0 and bool((labels == labels[0]).all())
    return labels[:1].copy() if same else labels


def _unpacked(bits: Bits, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=count).view(np.bool_)
