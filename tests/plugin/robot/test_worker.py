"""A worker that dies takes nothing of the annotator's with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from diffseg.engine import Engine

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of its own: killing its worker is nothing to other tests."""
    one = Engine.from_environment(threads=1)
    yield one
    one.close()


def the_worker() -> psutil.Process:
    """The process that holds the model: of the newest engine's, that of most memory.

    Only of those without children: the server that the worker was forked from holds
    as much.
    """
    children = psutil.Process().children(recursive=True)
    nannies = [one for one in children if "diffseg.engine.nanny" in one.cmdline()]
    newest = max(nannies, key=lambda one: one.create_time())
    leaves = [one for one in newest.children(recursive=True) if not one.children()]
    return max(leaves, key=lambda one: one.memory_info().rss)


def assert_can_propose(robot: Any, case: Any) -> None:
    robot.find("diffseg.propose.members").setValue(2)
    robot.find("diffseg.propose.steps").setValue(1)
    robot.window.dock.propose.ask_replace = lambda touched, word: False
    robot.propose()
    robot.wait(lambda: case.proposal is not None, "it proposes again")
    robot.wait_idle()


def test_a_killed_worker_takes_no_stroke_with_it(robot: Any, crop: Path) -> None:
    case = robot.open_and_draw(crop)
    drawn = case.annotation.values.copy()
    layers = {layer.name for layer in robot.viewer.layers}
    robot.propose()
    robot.wait(lambda: robot.session.busy.fraction is not None, "members are drawn")
    assert the_worker().pid != os.getpid()
    the_worker().send_signal(signal.SIGKILL)
    robot.wait_idle()
    assert "process" in robot.notice()
    assert np.array_equal(case.annotation.values, drawn)
    assert {layer.name for layer in robot.viewer.layers} == layers
    assert case.proposal is None
    assert_can_propose(robot, case)
    touched = case.annotation.touched
    assert np.array_equal(case.annotation.values[touched], drawn[touched])
