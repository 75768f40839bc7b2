"""One member's answer for a region: where, how much, and not more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Region
from diffseg.engine.events import Finished
from diffseg.errors import UserError
from napari_diffseg.presenters.from_member import take_box, take_region
from napari_diffseg.views import Edit

SHAPE = (6, 8, 10)


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    """A mask, and a member that has two more pieces and lacks a corner."""
    values = np.zeros(SHAPE, np.uint8)
    values[1:4, 2:5, 2:5] = 1
    member = values.copy()
    member[1:3, 2:5, 5] = 2  # beside it
    member[5, 7, 9] = 1  # far from it
    member[1, 2, 2] = 0
    return values, member


def changed(values: np.ndarray, change: Any) -> np.ndarray:
    assert np.array_equal(values[change.indices], change.before)
    after = values.copy()
    after[change.indices] = change.after
    return after


def test_the_piece_under_the_place_is_taken(masks: Any) -> None:
    values, member = masks
    after = changed(values, take_region(values, member, (1, 2, 5)))
    assert np.array_equal(after[1:3, 2:5, 5], member[1:3, 2:5, 5])
    assert after[5, 7, 9] == 0
    assert after[1, 2, 2] == 1


def test_where_both_agree_the_structure_is_taken(masks: Any) -> None:
    values, member = masks
    after = changed(values, take_region(values, member, (3, 3, 3)))
    expected = member.copy()
    expected[5, 7, 9] = 0
    assert np.array_equal(after, expected)


def test_only_within_a_slice_or_a_box(masks: Any) -> None:
    values, member = masks
    here = Region((2, 3), (0, 8), (0, 10))
    after = changed(values, take_region(values, member, (2, 3, 5), here))
    assert np.array_equal(np.flatnonzero((after != values).any(axis=(1, 2))), [2])
    box = Region((4, 6), (6, 8), (8, 10))
    after = changed(values, take_box(values, member, box))
    assert np.argwhere(after != values).tolist() == [[5, 7, 9]]


def test_where_nothing_is_it_says_so(masks: Any) -> None:
    with pytest.raises(UserError, match="nothing is there"):
        take_region(*masks, (0, 0, 0))


def test_the_tool_takes_it_in_one_step(
    window: Any, image: Any, card: Any, propose: Callable[..., Any]
) -> None:
    window.views.case.open_requested.emit(str(image))
    case = window.case
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 2:5, 2:5] = 1
    assert window.views.correct.last("set_target")[0].members == 0
    window.views.propose.run_requested.emit()
    members = np.stack([mask, mask])
    members[1, 2, 3, 5:8] = 2
    proposal = replace(propose(case, mask, card), members=members)
    window.runner.tell(Finished(proposal))
    assert window.views.correct.last("set_target")[0].members == 2
    window.canvas.answers["slice_axis"] = 0
    window.canvas.answers["voxel_at_hand"] = lambda case: (2, 3, 6)
    window.views.correct.apply_requested.emit(Edit("member", "region", 2.0))
    _, change = window.canvas.last("correct")
    assert len(change) == 3
    assert (change.after == 2).all()
    window.views.correct.apply_requested.emit(Edit("member", "region", 3.0))
    assert "no such member" in window.views.correct.last("show_edit")[0].said
