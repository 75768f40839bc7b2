"""What a proposal changes of a mask that a person has worked on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from diffseg.domain import Region
from diffseg.project.annotation import Annotation, Change, proposed_change

SHAPE = (2, 3, 4)
masks = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 3))
touches = hnp.arrays(np.bool_, SHAPE)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    ranges = []
    for size in SHAPE:
        start = draw(st.integers(0, size - 1))
        ranges.append((start, draw(st.integers(start + 1, size))))
    return Region(*ranges)


def applied(annotation: Annotation, change: Change) -> NDArray[np.uint8]:
    after = annotation.values.copy()
    np.testing.assert_array_equal(after[change.indices], change.before)
    after[change.indices] = change.after
    return after


def test_nothing_is_drawn_at_first() -> None:
    annotation = Annotation.empty(SHAPE)
    assert annotation.values.shape == annotation.touched.shape == SHAPE
    assert not annotation.values.any()
    assert not annotation.touched.any()
    assert annotation.proposed is None


@given(masks, touches, masks)
def test_touched_voxels_stay(
    values: NDArray[np.uint8], touched: NDArray[np.bool_], mask: NDArray[np.uint8]
) -> None:
    annotation = Annotation(values, touched)
    after = applied(annotation, proposed_change(annotation, mask))
    np.testing.assert_array_equal(after, np.where(touched, values, mask))


@given(masks, touches, masks)
def test_all_is_replaced_where_the_person_says_so(
    values: NDArray[np.uint8], touched: NDArray[np.bool_], mask: NDArray[np.uint8]
) -> None:
    annotation = Annotation(values, touched)
    change = proposed_change(annotation, mask, replace_touched=True)
    np.testing.assert_array_equal(applied(annotation, change), mask)


@given(masks, touches, masks, regions(), st.booleans())
def test_a_region_limits_it(
    values: NDArray[np.uint8],
    touched: NDArray[np.bool_],
    mask: NDArray[np.uint8],
    region: Region,
    replace: bool,
) -> None:
    annotation = Annotation(values, touched)
    change = proposed_change(annotation, mask, region, replace_touched=replace)
    inside = np.zeros(SHAPE, np.bool_)
    inside[region.slices] = True
    if not replace:
        inside &= ~touched
    expected = np.where(inside, mask, values)
    np.testing.assert_array_equal(applied(annotation, change), expected)


@given(masks, touches, masks)
def test_it_holds_only_what_differs_and_changes_nothing(
    values: NDArray[np.uint8], touched: NDArray[np.bool_], mask: NDArray[np.uint8]
) -> None:
    annotation = Annotation(values.copy(), touched.copy())
    change = proposed_change(annotation, mask)
    assert len(change) == len(change.before)
    assert (change.before != change.after).all()
    np.testing.assert_array_equal(annotation.values, values)
    np.testing.assert_array_equal(annotation.touched, touched)
    assert all(axis.dtype == np.int32 for axis in change.indices)


def test_a_change_does_not_follow_the_mask() -> None:
    annotation = Annotation.empty(SHAPE)
    change = proposed_change(annotation, np.ones(SHAPE, np.uint8))
    annotation.values[:] = 5
    assert (change.before == 0).all()


def test_a_mask_of_another_shape_is_no_proposal() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        proposed_change(Annotation.empty(SHAPE), np.zeros((5, 5, 5), np.uint8))
