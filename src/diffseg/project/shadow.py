"""What the journal has seen of a mask, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffseg.project.annotation import Annotation
from diffseg.project.records import Dense, Payload, Sparse

Shape = tuple[int, int, int]
Bits = NDArray[np.uint8]

LARGEST_SLAB = 4 * 2**20
"""Voxels that are compared in one go: NumPy lets other threads run meanwhile."""
DENSE_SHARE = 1 / 16
"""Where more of a slab has changed, the whole slab is smaller than its indices."""
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)


@dataclass(slots=True)
class Slab:
    """A run of voxels in C order: its box, and what was seen of `touched` there.

    Parameters
    ----------
    box : tuple of three slices
    start, size : int
        Flat indices from `start`.
    touched, changed : (size / 8,) uint8 ndarrays
        Bits. `changed` are voxels that differed at any time since the case was
        opened, or were touched.
    count : int
        Bits of `changed` that are set.
    unkept : bool
        What was seen here did not reach the disk.
    """

    box: tuple[slice, slice, slice]
    start: int
    size: int
    touched: Bits = field(init=False)
    changed: Bits = field(init=False)
    count: int = 0
    unkept: bool = False

    def __post_init__(self) -> None:
        self.touched = np.zeros((self.size + 7) // 8, np.uint8)
        self.changed = np.zeros_like(self.touched)

    def mark(self, bits: Bits) -> None:
        """Add to the voxels that have changed."""
        self.changed |= bits
        self.count = int(_ONES[self.changed].sum(dtype=np.int64))


def slabs_of(shape: Shape, largest: int) -> Iterator[Slab]:
    """Cut a grid into runs of whole planes, or of whole rows where planes are large."""
    planes, rows, columns = shape
    if rows * columns <= largest:
        step = largest // (rows * columns)
        for z in range(0, planes, step):
            stop = min(z + step, planes)
            box = (slice(z, stop), slice(0, rows), slice(0, columns))
            yield Slab(box, z * rows * columns, (stop - z) * rows * columns)
        return
    step = max(1, largest // columns)
    for z in range(planes):
        for y in range(0, rows, step):
            stop = min(y + step, rows)
            box = (slice(z, z + 1), slice(y, stop), slice(0, columns))
            yield Slab(box, (z * rows + y) * columns, (stop - y) * columns)


class Shadow:
    """A copy of a mask as it was last looked at; starts with nothing drawn.

    It takes one byte a voxel for the labels, and two bits for who set them.

    Parameters
    ----------
    shape : (Z, Y, X)
    largest : int
        Voxels that are compared in one go.
    """

    def __init__(self, shape: Shape, largest: int) -> None:
        self.shape = shape
        self.values = np.zeros(shape, np.uint8)
        self.slabs = tuple(slabs_of(shape, largest))
        self._room = np.empty(max(slab.size for slab in self.slabs), np.bool_)

    @property
    def voxels(self) -> int:
        """Voxels that have changed since the case was opened, or were touched."""
        return sum(slab.count for slab in self.slabs)

    def start(self, annotation: Annotation, *, safe: bool = False) -> None:
        """Take up what is there when a case is opened; it is no change.

        What was touched before counts as changed, unless it is `safe` elsewhere.
        """
        for slab in self.slabs:
            live, who = annotation.values[slab.box], annotation.touched[slab.box]
            if live.any() or who.any():
                np.copyto(self.values[slab.box], live)
                slab.touched = np.packbits(who)
                if not safe:
                    slab.mark(slab.touched)
                slab.unkept = True

    def look(self, annotation: Annotation) -> Payload | None:
        """Find what has changed since the last look, and take it up.

        The mask may be drawn upon meanwhile: what is missed now differs at the
        next look. Until `kept` says that it reached the disk, it is found again.
        """
        payload: Payload | None = None
        few: list[Sparse] = []
        for slab in self.slabs:
            found = self._look_at(slab, annotation)
            if isinstance(found, Dense):
                payload = payload or Payload()
                payload.add(found)
            elif found is not None:
                few.append(found)
        if few:
            payload = payload or Payload()
            payload.add(_joined(few))
        return payload

    def dense(self, slab: Slab) -> Dense:
        """Everything that was seen of a slab."""
        return Dense(slab.start, self.values[slab.box].reshape(-1), slab.touched)

    def kept(self, kept: bool = True) -> None:
        """All that was seen is on the disk, or nothing of it is."""
        for slab in self.slabs:
            slab.unkept = not kept

    def _look_at(self, slab: Slab, annotation: Annotation) -> Sparse | Dense | None:
        live, seen = annotation.values[slab.box], self.values[slab.box]
        differs = self._room[: slab.size].reshape(seen.shape)
        np.not_equal(live, seen, out=differs)
        touched = np.packbits(annotation.touched[slab.box])
        moved = touched ^ slab.touched
        if not (slab.unkept or differs.any() or moved.any()):
            return None
        whole, slab.unkept = slab.unkept, True
        # From here on a copy: the record and the shadow must not differ.
        now = np.array(live, order="C")
        np.not_equal(now, seen, out=differs)
        bits = np.packbits(differs)
        slab.mark(moved | bits)
        slab.touched = touched
        union = np.unpackbits(moved | bits, count=slab.size).view(np.bool_)
        if whole or int(union.sum()) > DENSE_SHARE * slab.size:
            np.copyto(seen, now)
            return Dense(slab.start, now.reshape(-1), touched)
        near = np.flatnonzero(union)
        values = now.reshape(-1)[near]
        np.copyto(seen, now)
        who = np.unpackbits(touched, count=slab.size).view(np.bool_)[near]
        return Sparse(near + slab.start, values, who)


def _joined(parts: list[Sparse]) -> Sparse:
    return Sparse(
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.touched for part in parts]),
    )
