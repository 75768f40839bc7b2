"""Steps of a walk through the loop, by the window's handles, keys and canvas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffseg.domain import Presence
from diffseg.progress import run
from diffseg.project import store

LEARNING = 600_000
"""How long the robot waits for a model that learns, in ms, on a busy machine."""


def press(robot: Any, key: str) -> None:
    """Press one of our keys on the canvas."""
    from qtpy.QtTest import QTest

    widget = robot.canvas_widget()
    widget.setFocus()
    QTest.keySequence(widget, key)
    robot.qtbot.wait(50)


def begin(robot: Any, folder: Path, paths: list[Path]) -> store.Project:
    """A project of these images, by the panel."""
    robot.find("diffseg.project.annotator").setText("anna")
    robot.find("diffseg.project.path").setText(str(folder))
    robot.click("diffseg.project.create")
    robot.wait(lambda: robot.session.project is not None, "the project is open")
    robot.window.dock.project.add_requested.emit([str(path) for path in paths])
    rows = robot.find("diffseg.project.list").model()
    robot.wait(lambda: rows.rowCount() == len(paths), "all cases are listed")
    return robot.window.desk.books.ledger.project


def open_row(robot: Any, row: int) -> Any:
    from qtpy.QtCore import Qt

    before, cases = robot.session.current, robot.find("diffseg.project.list")
    cases.selectRow(row)
    robot.qtbot.keyClick(cases, Qt.Key.Key_Return)
    robot.wait(
        lambda: robot.session.current not in (None, before), f"case {row} is open"
    )
    return robot.session.current


def propose(robot: Any, case: Any) -> None:
    before = case.proposal
    robot.find("diffseg.propose.members").setValue(2)
    robot.propose()
    robot.wait_idle()
    assert case.proposal is not before, robot.notice()
    robot.wait(lambda: case.entry.origin.proposal, "the proposal is kept")


def values_of(case: Any) -> Any:
    return case.annotation.values


def apply(robot: Any, tool: str) -> str:
    """Open a tool, preview it, make its change, close it; what it says of it."""
    robot.click(f"diffseg.correct.{tool}")
    for verb in ("preview", "apply"):
        robot.click(f"diffseg.correct.{verb}")
        robot.wait(lambda: "orking" not in said_of(robot), f"{tool}: {verb} is done")
    said = said_of(robot)
    robot.click(f"diffseg.correct.{tool}")
    return said


def said_of(robot: Any) -> str:
    return str(robot.find("diffseg.correct.tool_said").text())


def changed(robot: Any, case: Any, do: Any, *, keep: bool = False) -> Any:
    """Voxels that something changes, as one step, and undo it unless it is kept."""
    before = values_of(case).copy()
    steps = len(robot.window.canvas._stacks.current.history)
    do()
    found = values_of(case) != before
    assert found.any(), said_of(robot)
    assert case.annotation.touched[found].all()
    assert len(robot.window.canvas._stacks.current.history) == steps + 1
    if not keep:
        robot.click("diffseg.correct.undo")
        assert np.array_equal(values_of(case), before)
    return found


def label(robot: Any, case: Any, project: store.Project) -> None:
    """An image-level label, and one of a range of slices by two keys."""
    id, canvas = case.entry.origin.case, robot.window.canvas
    robot.find("diffseg.labels.list").setCurrentRow(0)
    robot.click("diffseg.labels.presence.present.1")
    _, rows, columns = case.volume.shape
    canvas.go_to(case, (37, rows // 2, columns // 2))
    press(robot, "S")
    canvas.go_to(case, (39, rows // 2, columns // 2))
    robot.click("diffseg.labels.range_state.absent")
    press(robot, "D")
    robot.wait(lambda: len(store.statements_of(project, id)) == 2, "both are kept")
    told = {(one.slices, one.state) for one in store.statements_of(project, id)}
    assert told == {(None, Presence.PRESENT), ((37, 40), Presence.ABSENT)}


def follow(robot: Any, case: Any, project: store.Project) -> None:
    """To what deserves a look most; the places of the case; one is accepted."""
    press(robot, "T")
    robot.wait(lambda: "deserves a look" in robot.notice(), "we are led")
    assert robot.session.current is case
    press(robot, "N")
    press(robot, "A")
    robot.wait(lambda: case.accepted, "the place is ticked off")


def ring(x: float, y: float, half: float = 0.06) -> list[tuple[float, float]]:
    """Corners of a square around a place of the canvas, back to the first."""
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    return [(x + a * half, y + b * half) for a, b in signs]


def strokes(robot: Any, case: Any) -> None:
    """Brush, eraser, polygon, fill, picker, and the brush of a range."""
    robot.find("diffseg.correct.brush").setValue(1.5)
    for tool in ("paint", "erase"):
        robot.click(f"diffseg.correct.{tool}")
        changed(robot, case, lambda: robot.drag((0.45, 0.35), (0.45, 0.8)), keep=True)
    robot.click("diffseg.correct.polygon")
    changed(robot, case, lambda: robot.outline(ring(0.4, 0.3)[:4]))
    robot.click("diffseg.correct.paint")
    changed(robot, case, lambda: robot.along(ring(0.4, 0.3)))
    robot.click("diffseg.correct.redo")
    robot.click("diffseg.correct.fill")
    changed(robot, case, lambda: robot.along([(0.4, 0.3)]))
    robot.find("diffseg.labels.list").setCurrentRow(1)
    robot.click("diffseg.correct.pick")
    robot.along([(0.4, 0.24)])
    robot.wait(lambda: robot.find("diffseg.labels.list").currentRow() == 0, "picked")
    robot.click("diffseg.correct.undo")
    robot.click("diffseg.correct.paint")
    robot.click("diffseg.correct.threshold.range")
    image = np.asarray(case.volume.data[0])
    robot.find("diffseg.correct.threshold_low").setValue(float(np.median(image)))
    robot.find("diffseg.correct.threshold_high").setValue(float(image.max()) + 1)
    low = robot.find("diffseg.correct.threshold_low").value()
    bright = changed(robot, case, lambda: robot.drag((0.45, 0.2), (0.45, 0.8)))
    assert (image[bright] >= low).all()
    robot.click("diffseg.correct.threshold.all")


def tools(robot: Any, case: Any) -> None:
    """Every tool that changes a structure as a whole; each previewed, each a step."""
    canvas, (z, y, x) = robot.window.canvas, (n // 2 for n in case.volume.shape)
    robot.type("diffseg.labels.new", "cyst")
    robot.click("diffseg.labels.add")
    for plane in (z, z + 4):
        canvas.go_to(case, (plane, y, x))
        changed(robot, case, lambda: robot.along(ring(0.4, 0.3)), keep=True)

    def use(tool: str, *ways: str, keep: bool = False) -> Any:
        for way in ways:
            robot.find(f"diffseg.correct.{way}").click()
        return changed(robot, case, lambda: apply(robot, tool), keep=keep)

    def planes(found: Any) -> list[int]:
        return [int(one) for one in np.flatnonzero(found.any(axis=(1, 2)))]

    assert planes(use("islands", "islands_keep.largest")) in ([z], [z + 4])
    assert planes(use("holes", "holes_in.slices", keep=True)) == [z, z + 4]
    assert planes(use("interpolate", keep=True)) == [z + 1, z + 2, z + 3]
    assert planes(use("copy", "copy_to.previous")) == [z + 5]
    use("smooth", "smooth_how.median")
    use("margin", "margin_how.grow")
    use("combine", "combine_how.union", "tool_over")
    robot.click("diffseg.correct.pan")
    robot.along([(0.4, 0.24)])
    use("member")


def redraw(robot: Any, case: Any) -> None:
    """The slice drawn anew around the strokes in it, which stay."""
    drawn = case.annotation.touched.copy()
    kept = values_of(case)[drawn]
    robot.click("diffseg.correct.resample_keep.strokes")
    robot.find("diffseg.correct.resample_level").setValue(0.6)

    def do() -> None:
        robot.click("diffseg.correct.resample")
        robot.wait(lambda: robot.session.busy is not None, "the engine works")
        robot.wait_idle()

    before, proposal = values_of(case).copy(), case.proposal
    do()
    assert case.proposal is not proposal, robot.notice()
    assert (values_of(case) != before).any()
    assert np.array_equal(values_of(case)[drawn], kept)
    assert np.array_equal(case.annotation.touched, drawn)


def finish(robot: Any, case: Any) -> None:
    """Done, and kept as a version."""
    press(robot, "R")
    robot.wait(lambda: case.entry.state == "done", "it is done")
    robot.wait(lambda: case.entry.version, "a version is kept")


def learn(robot: Any, settings: tuple[str, ...]) -> Any:
    """Fine-tune by the panel; the latest run as the project noted it."""
    train = robot.window.desk.learning.train
    train.settings = settings
    panel = robot.find("diffseg.train")
    if panel.folded:
        robot.click("diffseg.train.fold")
    robot.wait(robot.find("diffseg.train.run").isEnabled, "it can learn")
    robot.click("diffseg.train.run")
    robot.wait(lambda: train.running, "it learns")
    assert robot.find("diffseg.train.cancel").isEnabled()
    robot.wait(lambda: not train.running, "it has learnt", LEARNING)
    robot.wait(lambda: not robot.find("diffseg.train.ended").isHidden(), "a verdict")
    return store.training_runs(robot.window.desk.books.ledger.project)[-1]


def compare(robot: Any) -> None:
    """A held-out case before and after, as lines over the mask in hand."""

    def lines() -> list[str]:
        return [one.name for one in robot.viewer.layers if "model" in one.name]

    for side in ("before", "after"):
        robot.click(f"diffseg.train.side.{side}")
        robot.wait(lambda s=side: any(s in one for one in lines()), f"{side} is shown")
    robot.click("diffseg.train.side.off")
    robot.wait(lambda: not lines(), "neither is shown")


def wait_said(robot: Any, handle: str, words: str) -> None:
    """Wait until a line begins with these words."""
    line = robot.find(handle)
    robot.wait(lambda: line.text().startswith(words), f"{handle} says {words}")


def export_case(robot: Any, case: Any, names: tuple[str, ...]) -> None:
    """The open case as every format that the panel offers for it."""
    combo = robot.find("diffseg.export.format")
    offered = [combo.itemData(n) for n in range(combo.count())]
    assert [one.partition(" (")[0] for one in offered] == list(names)
    for at, name in enumerate(offered):
        combo.setCurrentIndex(at)
        combo.activated.emit(at)
        robot.click("diffseg.export.run")
        path = Path(robot.find("diffseg.export.path").text())
        suffix = name.partition("(")[2].rstrip(")")
        assert path.name.endswith(suffix)
        wait_said(robot, "diffseg.export.done", str(path))


def export_all(robot: Any, cases: int, names: list[str]) -> None:
    """All cases as every format that the project can be exported as."""
    combo = robot.find("diffseg.export.project_format")
    offered = [combo.itemData(n) for n in range(combo.count())]
    assert set(names) <= set(offered)
    for name in names:
        combo.setCurrentIndex(offered.index(name))
        combo.activated.emit(offered.index(name))
        folder = Path(robot.find("diffseg.export.project_path").text())
        robot.click("diffseg.export.project_run")
        wait_said(robot, "diffseg.export.project_done", f"{folder}: {cases} case")
        assert any(one.is_file() for one in folder.rglob("*"))


def reopen(robot: Any, folder: Path, before: Any) -> None:
    """Close the project, open it, and find the case as it was."""
    from qtpy.QtCore import Qt

    values, touched = values_of(before).copy(), before.annotation.touched.copy()
    name, state = before.name, before.entry.state
    robot.click("diffseg.project.close")
    robot.wait(lambda: robot.session.project is None, "the project is closed")
    path = robot.find("diffseg.project.path")
    path.setText(str(folder))
    robot.qtbot.keyClick(path, Qt.Key.Key_Return)
    robot.wait(lambda: robot.session.project is not None, "it is open again")
    rows = robot.find("diffseg.project.list").model()
    robot.wait(rows.rowCount, "the list is there")
    again = open_row(robot, 0)
    assert (again.name, again.entry.state) == (name, state)
    assert np.array_equal(values_of(again), values)
    assert np.array_equal(again.annotation.touched, touched)
    assert again.proposal is not None
    robot.window.desk.close()
    with store.open_project(folder) as found:
        assert run(store.check(found)).sound
