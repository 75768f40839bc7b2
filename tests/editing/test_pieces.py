"""Islands, holes and copies, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.domain import Region
from diffseg.editing import (
    Workpiece,
    copy_slice,
    fill_holes,
    keep_largest,
    remove_islands,
)
from diffseg.errors import UserError


def flooded(start: tuple[int, ...], free: np.ndarray) -> np.ndarray:
    """What can be reached over faces; brute force."""
    seen, waiting = np.zeros(free.shape, bool), [start]
    while waiting:
        at = waiting.pop()
        inside = all(0 <= i < n for i, n in zip(at, free.shape, strict=True))
        if inside and free[at] and not seen[at]:
            seen[at] = True
            for axis in range(free.ndim):
                waiting += [
                    tuple(i + step * (a == axis) for a, i in enumerate(at))
                    for step in (-1, 1)
                ]
    return seen


def pieces(mask: np.ndarray) -> list[np.ndarray]:
    found, left = [], mask.copy()
    while left.any():
        found.append(flooded(tuple(np.argwhere(left)[0].tolist()), left))
        left &= ~found[-1]
    return found


def holes(mask: np.ndarray) -> np.ndarray:
    """What the outside does not reach."""
    padded = np.pad(~mask, 1, constant_values=True)
    inner = tuple(slice(1, -1) for _ in range(mask.ndim))
    return ~flooded((0,) * mask.ndim, padded)[inner] & ~mask


def test_the_largest_stays(blobs, apply) -> None:
    kept = apply(blobs, keep_largest(Workpiece(blobs, 2)))
    largest = max(pieces(blobs == 2), key=np.count_nonzero)
    assert np.array_equal(kept == 2, largest)
    assert np.array_equal(kept[blobs != 2], blobs[blobs != 2])
    assert len(keep_largest(Workpiece(kept, 2))) == 0


@pytest.mark.parametrize("smallest", [2, 5])
def test_small_islands_go(blobs, apply, smallest) -> None:
    spacing = (2.0, 0.5, 3.0)  # 3 mm³ a voxel
    piece = Workpiece(blobs, 1, spacing)
    kept = apply(blobs, remove_islands(piece, 3.0 * smallest))
    large = [p for p in pieces(blobs == 1) if np.count_nonzero(p) >= smallest]
    assert np.array_equal(kept == 1, np.any(large, axis=0))
    again = Workpiece(kept, 1, spacing)
    assert len(remove_islands(again, 3.0 * smallest)) == 0


def test_in_a_slice_islands_are_measured_in_mm2(apply) -> None:
    mask = np.zeros((3, 6, 9), np.uint8)
    mask[:, 1:3, 1:3] = 1  # 4 pixels, 12 in the volume
    mask[1, 4, 5:8] = 1
    region = Region((1, 2), (0, 6), (0, 9))
    piece = Workpiece(mask, 1, (5.0, 0.5, 0.5), region)  # 0.25 mm² a pixel
    assert len(remove_islands(piece, 0.75)) == 0
    assert len(remove_islands(piece, 0.76)) == 3
    with pytest.raises(UserError, match="largest one has 1:"):
        remove_islands(piece, 1.1)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_holes_are_filled(blobs, apply, axis) -> None:
    blobs[2:11, 3:13, 2:12] = 1
    blobs[4:7, 5:8, 5:8] = 0
    blobs[8, 4:9, 6:10] = 0
    blobs[5, 6, 6] = 2
    blobs[9:, 11, 3] = 0  # a channel to the outside
    filled = apply(blobs, fill_holes(Workpiece(blobs, 1), axis=axis))
    own = blobs == 1
    if axis is None:
        inner = holes(own)
    else:
        inner = np.stack([holes(one) for one in np.moveaxis(own, axis, 0)], axis=axis)
    assert (inner & (blobs == 0)).any()
    assert np.array_equal(filled == 1, own | (inner & (blobs == 0)))
    assert np.array_equal(filled[blobs > 1], blobs[blobs > 1])
    assert len(fill_holes(Workpiece(filled, 1), axis=axis)) == 0
    over = apply(blobs, fill_holes(Workpiece(blobs, 1, over=True), axis=axis))
    assert np.array_equal(over == 1, own | inner)


def test_a_ring_in_a_picture_is_filled(apply) -> None:
    picture = np.zeros((1, 7, 7), np.uint8)
    picture[0, 1:6, 1:6] = 3
    picture[0, 2:5, 2:5] = 0
    assert apply(picture, fill_holes(Workpiece(picture, 3))).sum() == 3 * 25
    row = np.array([[[3, 0, 3]]], np.uint8)
    assert len(fill_holes(Workpiece(row, 3))) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3, -2])
def test_a_slice_is_copied(blobs, apply, axis, count) -> None:
    source = 5
    change = copy_slice(Workpiece(blobs, 1), axis=axis, source=source, count=count)
    after, slices = (np.moveaxis(m, axis, 0) for m in (apply(blobs, change), blobs))
    targets = range(min(6, 5 + count), max(5, 6 + count))
    for index in range(len(slices)):
        if index not in targets or index == source:
            assert np.array_equal(after[index], slices[index])
            continue
        other = slices[index] > 1
        assert np.array_equal(after[index][other], slices[index][other])
        expected = (slices[source] == 1) & ~other
        assert np.array_equal(after[index] == 1, expected)


def test_a_copy_stays_inside_and_needs_a_shape(blobs) -> None:
    last = blobs.shape[0] - 1
    change = copy_slice(Workpiece(blobs, 1), axis=0, source=last - 1, count=9)
    assert set(change.indices[0].tolist()) == {last}
    with pytest.raises(UserError, match="no slice to copy to"):
        copy_slice(Workpiece(blobs, 1), axis=0, source=last, count=1)
    blobs[4][blobs[4] == 1] = 0
    with pytest.raises(UserError, match="not drawn in this slice"):
        copy_slice(Workpiece(blobs, 1), axis=0, source=4, count=1)


def test_a_workpiece_fits_its_mask() -> None:
    mask = np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(UserError, match="region z"):
        Workpiece(mask, 1, region=Region((0, 3), (0, 3), (0, 4)))
    for wrong in (mask[0], mask.astype(int)):
        with pytest.raises(ValueError, match="shape"):
            Workpiece(wrong, 1)
    with pytest.raises(UserError, match="above 0"):
        remove_islands(Workpiece(mask, 1), 0.0)
    for tool in (keep_largest, fill_holes):
        with pytest.raises(UserError, match="class 1 is not drawn"):
            tool(Workpiece(mask, 1))
