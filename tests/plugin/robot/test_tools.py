"""Tools of the panel "Correct", used by their handles on a volume and on a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def preview(robot: Any) -> Any:
    """The layer that shows what a tool would change, or None."""
    layers = robot.viewer.layers
    return next((one for one in layers if one.name.endswith("[preview]")), None)


def said(robot: Any) -> str:
    return str(robot.find("diffseg.correct.tool_said").text())


def apply(robot: Any) -> None:
    robot.click("diffseg.correct.apply")
    robot.wait(lambda: "orking" not in said(robot), "the tool is done")


def test_a_volume(robot: Any, crop: Path) -> None:
    from qtpy.QtGui import QShortcut

    case = robot.open(crop)
    robot.click("diffseg.correct.paint")
    robot.drag((0.45, 0.45), (0.55, 0.55))
    values, touched = case.annotation.values, case.annotation.touched
    stroke = values.copy()
    assert stroke.any()

    # Shown, dropped by Esc, nothing changed and nothing left.
    robot.click("diffseg.correct.copy")
    robot.find("diffseg.correct.copy_count").setValue(4)
    robot.click("diffseg.correct.preview")
    robot.wait(lambda: preview(robot) is not None, "a preview is there")
    assert np.array_equal(values, stroke)
    assert preview(robot).data.any()
    assert not preview(robot).editable
    esc = robot.window.dock.window().findChild(QShortcut, "diffseg.key.cancel")
    assert esc.isEnabled()
    esc.activated.emit()
    assert preview(robot) is None
    assert not esc.isEnabled()
    assert np.array_equal(values, stroke)

    # Made: one step, a person's, undone as one.
    steps = len(robot.window.canvas._stacks.current.history)
    apply(robot)
    copied = values.copy()
    slices = np.flatnonzero(copied.any(axis=(1, 2)))
    assert len(slices) == 5
    assert touched[copied != stroke].all()
    assert len(robot.window.canvas._stacks.current.history) == steps + 1
    robot.click("diffseg.correct.undo")
    assert np.array_equal(values, stroke)
    robot.click("diffseg.correct.redo")
    assert np.array_equal(values, copied)
    assert robot.window.journal.flush(case.id)

    # Between two slices that are drawn.
    values[slices[1:-1]] = 0
    robot.click("diffseg.correct.interpolate")
    apply(robot)
    assert np.array_equal(values, copied), said(robot)

    # Only intensities in a range, by a stroke.
    robot.click("diffseg.correct.undo")
    image = np.asarray(case.volume.data[0])
    before = values.copy()
    middle = float(np.median(image[before > 0]))
    robot.click("diffseg.correct.threshold.range")
    robot.find("diffseg.correct.threshold_low").setValue(middle)
    robot.find("diffseg.correct.threshold_high").setValue(float(image.max()) + 1)
    low = robot.find("diffseg.correct.threshold_low").value()
    robot.drag((0.3, 0.3), (0.7, 0.6))
    painted = (values != before) & (values > 0)
    assert painted.any()
    assert (image[painted] >= low).all()


def test_a_picture(robot: Any, tmp_path: Path) -> None:
    from skimage import io

    rows, columns = np.mgrid[0:64, 0:80]
    grey = (np.hypot(rows - 32, columns - 40) < 15).astype(np.uint8) * 200
    io.imsave(tmp_path / "picture.png", grey, check_contrast=False)
    case = robot.open(tmp_path / "picture.png")
    assert not robot.find("diffseg.correct.interpolate").isEnabled()
    robot.click("diffseg.correct.paint")
    robot.click("diffseg.correct.threshold.start")
    robot.find("diffseg.correct.brush").setValue(30)
    mask = next(one for one in robot.viewer.layers if one.name.endswith("[mask]"))
    mask.paint((0, 32, 40), mask.selected_label)
    values = case.annotation.values
    assert np.array_equal(values[0] > 0, grey > 0), "what is like the start, all of it"
    robot.click("diffseg.correct.margin")
    assert robot.find("diffseg.correct.margin_size").suffix() == " pixels"
    robot.find("diffseg.correct.margin_size").setValue(3)
    apply(robot)
    robot.wait(lambda: "dded" in said(robot), f"it grew; it says {said(robot)!r}")
    assert np.array_equal(values[0] > 0, _grown(grey > 0, 3.0)), said(robot)


def _grown(mask: np.ndarray, by: float) -> np.ndarray:
    from scipy import ndimage

    return ndimage.distance_transform_edt(~mask) <= by
