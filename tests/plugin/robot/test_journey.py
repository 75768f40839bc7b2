"""One journey through the window, as a person makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def layer(robot: Any, role: str) -> Any:
    """The layer ``brain [role]``, or None."""
    name = f"brain [{role}]"
    return next((one for one in robot.viewer.layers if one.name == name), None)


def settings(robot: Any, members: int, steps: int, seed: int) -> None:
    robot.find("diffseg.propose.members").setValue(members)
    robot.find("diffseg.propose.steps").setValue(steps)
    robot.find("diffseg.propose.seed").setValue(seed)


def test_open_label_propose_correct_export(
    robot: Any, crop: Path, tmp_path: Path
) -> None:
    case = robot.open(crop)
    assert case.name == "brain"
    assert layer(robot, "mask") is not None

    # Slices arrive while the ensemble is drawn; cancelling leaves no trace.
    settings(robot, 8, 6, 1)
    robot.propose()
    robot.wait(
        lambda: (
            layer(robot, "proposing") is not None
            and np.asarray(layer(robot, "proposing").data).any()
        ),
        "slices arrive",
    )
    assert robot.session.busy is not None, "slices came with the result only"
    robot.click("diffseg.propose.cancel")
    robot.wait_idle()
    assert not case.annotation.values.any()
    assert layer(robot, "proposing") is None
    assert case.proposal is None

    # A proposal comes as one step, and can be undone as one.
    settings(robot, 4, 1, 2)
    robot.propose()
    robot.wait(lambda: case.proposal is not None, "there is a proposal")
    robot.wait_idle()
    first = case.annotation.values.copy()
    assert np.array_equal(first, case.proposal.mask)
    assert first.any()
    assert not case.annotation.touched.any()
    for role in ("probability", "uncertainty", "contours"):
        assert layer(robot, role) is not None, role
    robot.click("diffseg.correct.undo")
    assert not case.annotation.values.any()
    robot.click("diffseg.correct.redo")
    assert np.array_equal(case.annotation.values, first)

    # A stroke lands, is a person's, and can be undone.
    robot.click("diffseg.correct.paint")
    robot.drag((0.4, 0.45), (0.6, 0.55))
    painted = case.annotation.values.copy()
    drawn = painted != first
    assert drawn.any()
    assert case.annotation.touched[drawn].all()
    robot.click("diffseg.correct.undo")
    assert np.array_equal(case.annotation.values, first)
    robot.drag((0.4, 0.45), (0.6, 0.55))
    corrected = case.annotation.values.copy()
    touched = case.annotation.touched.copy()
    assert touched.any()

    # Proposing again keeps what was drawn.
    settings(robot, 2, 1, 3)
    robot.window.dock.propose.ask_replace = lambda touched, word: False
    robot.propose()
    earlier = case.proposal
    robot.wait(lambda: case.proposal is not earlier, "there is another proposal")
    robot.wait_idle()
    again = case.annotation.values
    assert np.array_equal(again[touched], corrected[touched])
    assert np.array_equal(again[~touched], case.proposal.mask[~touched])

    # What is exported is what is on the screen, on the source's grid.
    out = tmp_path / "exported.nii.gz"
    robot.type("diffseg.export.path", str(out))
    robot.click("diffseg.export.run")
    robot.wait(lambda: not case.unsaved, "the export is there and was checked")
    source, written = nib.load(crop), nib.load(out)
    assert np.array_equal(np.asarray(written.dataobj).T, case.annotation.values)
    assert np.allclose(written.affine, source.affine, atol=1e-5)
    itk = sitk.ReadImage(str(out))
    assert np.array_equal(sitk.GetArrayFromImage(itk), case.annotation.values)

    # The exported mask opens again, to be corrected further.
    robot.click("diffseg.case.close")
    robot.wait(lambda: not robot.session.cases, "the case is closed")
    reopened = robot.open(crop)
    assert not reopened.annotation.values.any()
    robot.window.dock.case.mask_requested.emit(str(out))
    robot.wait(lambda: reopened.annotation.values.any(), "the mask is loaded")
    assert np.array_equal(reopened.annotation.values, np.asarray(written.dataobj).T)


def test_the_window_s_process_never_imports_torch(robot: Any, crop: Path) -> None:
    """Asked of a fresh process, as the tests' own has imported torch."""
    import subprocess
    import sys

    script = f"""
import sys
import napari
from napari_diffseg.plugin.window import assemble, dock_into
from qtpy.QtTest import QTest
viewer = napari.Viewer()
window = assemble(viewer)
dock_into(viewer, window)
window.desk.open({str(crop)!r})
session = window.desk.session
def wait(condition):
    for _ in range(1800):
        if condition():
            return
        QTest.qWait(50)
    sys.exit("gave up waiting: " + window.dock.notices.text())
wait(lambda: session.current is not None)
window.dock.propose.run_requested.emit()
wait(lambda: session.current.proposal is not None)
print("torch" in sys.modules, bool(session.current.annotation.values.any()))
window.close()
viewer.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=crop.parent,
        timeout=300,
    )
    assert done.stdout.split() == ["False", "True"], done.stderr[-2000:]
