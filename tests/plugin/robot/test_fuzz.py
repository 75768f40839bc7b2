"""A hand that renames, reorders and deletes layers while another one works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]

ACTIONS = 60


class Mischief:
    """Every harmful or harmless thing a user may do to layers, at random."""

    def __init__(self, robot: Any, seed: int) -> None:
        self.robot = robot
        self.rng = np.random.default_rng(seed)
        self.done: list[str] = []

    def any_layer(self) -> Any:
        layers = self.robot.viewer.layers
        return layers[int(self.rng.integers(len(layers)))] if len(layers) else None

    def rename(self) -> None:
        layer = self.any_layer()
        if layer is not None:
            layer.name = f"renamed {self.rng.integers(1000)}"

    def delete(self) -> None:
        # The image itself is deleted in a test of its own: that closes the case.
        sisters = [
            one
            for one in self.robot.viewer.layers
            if one.metadata.get("diffseg", {}).get("role") != "image"
        ]
        if sisters:
            index = int(self.rng.integers(len(sisters)))
            self.robot.viewer.layers.remove(sisters[index])

    def reorder(self) -> None:
        layers = self.robot.viewer.layers
        if len(layers) > 1:
            start, stop = self.rng.integers(len(layers), size=2)
            layers.move(int(start), int(stop))

    def hide(self) -> None:
        layer = self.any_layer()
        if layer is not None:
            layer.visible = not layer.visible

    def select(self) -> None:
        layer = self.any_layer()
        if layer is not None:
            self.robot.viewer.layers.selection.active = layer

    def add(self) -> None:
        self.robot.viewer.add_points(np.zeros((1, 3)))

    def step(self) -> None:
        case = self.robot.session.current
        if case is not None:
            size = case.display.shown.shape[0]
            self.robot.viewer.dims.set_point(0, float(self.rng.integers(size)))

    def press(self) -> None:
        handles = (
            "diffseg.correct.undo",
            "diffseg.correct.redo",
            "diffseg.review.next",
            "diffseg.correct.paint",
            "diffseg.correct.erase",
            "diffseg.propose.run",
            "diffseg.propose.cancel",
        )
        handle = handles[int(self.rng.integers(len(handles)))]
        button = self.robot.find(handle)
        if button.isEnabled() and button.isVisible():
            self.robot.click(handle)

    def draw(self) -> None:
        x, y = self.rng.uniform(0.35, 0.6, size=2)
        self.robot.drag((x, y), (x + 0.05, y + 0.02))

    def once(self) -> None:
        actions: list[Callable[[], None]] = [
            self.rename, self.delete, self.reorder, self.hide, self.select,
            self.add, self.step, self.press, self.draw,
        ]  # fmt: skip
        action = actions[int(self.rng.integers(len(actions)))]
        self.done.append(action.__name__)
        action()
        self.robot.qtbot.wait(30)


@pytest.mark.parametrize("seed", [1, 2])
def test_layers_may_go_at_any_time(robot: Any, crop: Path, seed: int) -> None:
    case = robot.open(crop)
    robot.window.dock.propose.ask_replace = lambda touched, word: False
    robot.find("diffseg.propose.members").setValue(4)
    robot.find("diffseg.propose.steps").setValue(2)
    mischief = Mischief(robot, seed)
    for _ in range(ACTIONS):
        mischief.once()
    # After all that the window works: what was drawn is kept, and it can propose.
    robot.wait_idle()
    kept = case.annotation.values.copy()
    touched = case.annotation.touched.copy()
    earlier = case.proposal
    robot.propose()
    robot.wait(lambda: case.proposal is not earlier, f"proposed after {mischief.done}")
    robot.wait_idle()
    values = case.annotation.values
    assert np.array_equal(values[touched], kept[touched]), mischief.done
    assert np.array_equal(values[~touched], case.proposal.mask[~touched])
    robot.window.journal.flush()
    shown = [
        one
        for one in robot.viewer.layers
        if one.metadata.get("diffseg", {}).get("role") == "mask"
    ]
    assert len(shown) == 1
    assert np.array_equal(case.display.native_view(shown[0].data), values)


def test_an_image_deleted_while_its_proposal_runs(robot: Any, crop: Path) -> None:
    case = robot.open(crop)
    robot.find("diffseg.propose.steps").setValue(6)
    robot.propose()
    image = next(
        one
        for one in robot.viewer.layers
        if one.metadata.get("diffseg", {}).get("role") == "image"
    )
    robot.viewer.layers.remove(image)
    robot.wait_idle()
    assert case not in robot.session.cases
    robot.qtbot.wait(200)
    left = [
        one
        for one in robot.viewer.layers
        if one.metadata.get("diffseg", {}).get("role") in ("mask", "proposing")
    ]
    assert left == []
    assert robot.open(crop) is not None
