"""Drawing anew around a stroke, in a window with a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def test_the_rest_is_drawn_anew_around_a_stroke(robot: Any, crop: Path) -> None:
    case = robot.open(crop)
    run = robot.find("diffseg.correct.resample")
    assert not run.isEnabled()
    assert "aint or erase first" in run.toolTip()
    robot.find("diffseg.propose.members").setValue(2)
    robot.propose()
    robot.wait_idle()
    first = case.proposal
    assert first is not None, robot.notice()
    note, canvas = case.annotation, robot.window.canvas

    robot.click("diffseg.correct.erase")
    plane = canvas.slice_region(case)
    axis = canvas.slice_axis(case)
    robot.drag((0.35, 0.5), (0.65, 0.5))
    drawn = note.touched.copy()
    assert drawn.any()
    before, steps = note.values.copy(), len(canvas._stacks.current.history)
    robot.click("diffseg.correct.resample_keep.strokes")
    robot.find("diffseg.correct.resample_level").setValue(0.6)
    robot.wait(run.isEnabled, "it can be drawn anew")
    robot.click("diffseg.correct.resample")
    robot.wait(lambda: robot.session.busy is not None, "the engine works")
    assert not robot.find("diffseg.correct.resample_busy").isHidden()
    robot.wait_idle()

    assert case.proposal is not first, robot.notice()
    assert "drawn anew around your strokes" in robot.notice()
    assert np.array_equal(note.values[drawn], before[drawn])
    assert np.array_equal(note.touched, drawn)
    changed = np.flatnonzero(
        (note.values != before).any(axis=tuple(a for a in range(3) if a != axis))
    )
    here = plane.ranges[axis][0]
    assert len(changed)
    assert abs(changed - here).max() <= 2
    for member in case.proposal.members:
        assert np.array_equal(member[drawn], before[drawn])
    assert len(canvas._stacks.current.history) == steps + 1
    robot.click("diffseg.correct.undo")
    assert np.array_equal(note.values, before)
    assert robot.window.journal.flush(case.id)
