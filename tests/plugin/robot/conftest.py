"""A robot that uses the window as a person does: by its handles and its canvas."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from diffseg.engine import Engine
from diffseg.project.journal import Journal
from diffseg.volume import Volume

PATIENCE = 120_000
"""How long the robot waits at most, in ms; far above what anything takes."""

UNANSWERED = 15_000
"""How long a question may stand, in ms, before the robot takes it for unforeseen."""


class SharedEngine:
    """One engine for many windows: closing a window leaves it running."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        """Leave it to the fixture."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_engine":
            super().__setattr__(name, value)
        else:
            setattr(self._engine, name, value)


class Unforeseen:
    """Closes questions that no test answers: a modal one would hang it for ever."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.questions: list[str] = []
        self.patience = UNANSWERED
        self._standing: tuple[Any, int] = (None, 0)
        self._timer = QTimer()
        self._timer.setInterval(500)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _look(self) -> None:
        from qtpy.QtWidgets import QApplication

        dialog = QApplication.activeModalWidget()
        last, looks = self._standing
        looks = looks + 1 if dialog is not None and dialog is last else 0
        self._standing = (dialog, looks)
        if dialog is not None and looks * self._timer.interval() >= self.patience:
            self.questions.append(dialog.objectName() or type(dialog).__name__)
            dialog.close()  # as if given up

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()
        self._standing = (None, 0)


class Robot:
    """Hands and eyes for one window."""

    def __init__(self, qtbot: Any, viewer: Any, window: Any) -> None:
        self.qtbot = qtbot
        self.viewer = viewer
        self.window = window
        self.session = window.desk.session
        self.unforeseen = Unforeseen()

    def find(self, handle: str, kind: Any = None) -> Any:
        """The control of that handle."""
        from qtpy.QtCore import QObject

        found = self.window.dock.findChild(kind or QObject, handle)
        assert found is not None, f"no control {handle}"
        return found

    def click(self, handle: str) -> None:
        """Press a button with the left mouse button, once it is enabled."""
        from qtpy.QtCore import Qt

        button = self.find(handle)
        self.wait(button.isEnabled, f"{handle} is enabled ({button.toolTip()})")
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def wait(
        self, condition: Callable[[], Any], what: str, patience: int = PATIENCE
    ) -> None:
        """Wait until `condition` holds; `patience` is in ms."""

        try:
            self.qtbot.waitUntil(lambda: bool(condition()), timeout=patience)
        except self.qtbot.TimeoutError:
            pytest.fail(f"still waiting until {what}; the window says: {self.notice()}")

    def type(self, handle: str, text: str) -> None:
        """Replace what a line holds, key by key."""
        line = self.find(handle)
        line.selectAll()
        self.qtbot.keyClicks(line, text)

    def open(self, path: Path) -> Any:
        """Type a path into the case panel, press Enter, wait for the case."""
        from qtpy.QtCore import Qt

        before = len(self.session.cases)
        line = self.find("diffseg.case.path")
        line.setText(str(path))
        self.qtbot.keyClick(line, Qt.Key.Key_Return)
        self.wait(lambda: len(self.session.cases) > before, f"{path.name} is open")
        return self.session.current

    def open_and_draw(self, path: Path) -> Any:
        """Open an image, draw on it, and ask for an ensemble that takes its time."""
        case = self.open(path)
        self.click("diffseg.correct.paint")
        self.drag((0.4, 0.45), (0.6, 0.55))
        assert case.annotation.touched.any()
        self.find("diffseg.propose.members").setValue(8)
        self.find("diffseg.propose.steps").setValue(8)
        return case

    def propose(self) -> None:
        """Press Propose and wait until the engine works."""
        self.wait(
            lambda: self.find("diffseg.propose.run").isEnabled(), "it can propose"
        )
        self.click("diffseg.propose.run")
        self.wait(lambda: self.session.busy is not None, "the engine works")

    def wait_idle(self) -> None:
        """Wait until nothing runs."""
        self.wait(lambda: self.session.busy is None, "nothing runs")

    def canvas_widget(self) -> Any:
        """The widget of napari's main canvas, by the name of its class."""
        from qtpy.QtWidgets import QApplication, QWidget

        for top in QApplication.topLevelWidgets():
            for one in top.findChildren(QWidget):
                if one.metaObject().className() == "CanvasBackendDesktop":
                    return one
        raise AssertionError("no canvas")

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        """Draw with the left button across the canvas; fractions of its size."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        widget = self.canvas_widget()
        size = widget.width(), widget.height()

        def at(share: float) -> QPoint:
            x, y = (a + (b - a) * share for a, b in zip(start, stop, strict=True))
            return QPoint(int(x * size[0]), int(y * size[1]))

        left = Qt.MouseButton.LeftButton
        QTest.mouseMove(widget, at(0))
        self.qtbot.wait(20)
        QTest.mousePress(widget, left, Qt.KeyboardModifier.NoModifier, at(0))
        for step in range(1, 9):
            QTest.mouseMove(widget, at(step / 8))
            self.qtbot.wait(10)
        QTest.mouseRelease(widget, left, Qt.KeyboardModifier.NoModifier, at(1))
        self.qtbot.wait(20)

    def along(self, points: list[tuple[float, float]]) -> None:
        """Draw with the left button through points; fractions of the canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        widget, spots = self.canvas_widget(), [self._spot(one) for one in points]
        left, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(widget, spots[0])
        self.qtbot.wait(20)
        QTest.mousePress(widget, left, no_key, spots[0])
        for spot in spots[1:]:
            QTest.mouseMove(widget, spot)
            self.qtbot.wait(20)
        QTest.mouseRelease(widget, left, no_key, spots[-1])
        self.qtbot.wait(20)

    def outline(self, points: list[tuple[float, float]]) -> None:
        """Press at each corner of a polygon, and twice at the last."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        for point in points:
            self.along([point])
        left, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        spot = self._spot(points[-1])
        QTest.mouseDClick(self.canvas_widget(), left, no_key, spot)
        self.qtbot.wait(50)

    def _spot(self, point: tuple[float, float]) -> Any:
        from qtpy.QtCore import QPoint

        widget = self.canvas_widget()
        return QPoint(int(point[0] * widget.width()), int(point[1] * widget.height()))

    def notice(self) -> str:
        """What the strip of notices says."""
        return str(self.window.dock.notices.text())


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine that all robots share, as starting one takes seconds."""
    one = Engine.from_environment(threads=max(1, (os.cpu_count() or 2) - 1))
    yield one
    one.close()


@pytest.fixture
def robot(
    make_napari_viewer: Any, qtbot: Any, engine: Engine, tmp_path: Path
) -> Iterator[Robot]:
    """A robot at a fresh window with a journal of its own."""
    from napari_diffseg.plugin.window import assemble, dock_into

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    journal = Journal(tmp_path / "journal")
    window = assemble(viewer, engine=SharedEngine(engine), journal=journal)
    dock_into(viewer, window)
    robot = Robot(qtbot, viewer, window)
    robot.wait(lambda: window.canvas is not None, "the window is there")
    yield robot
    unforeseen = robot.unforeseen
    unforeseen.stop()
    window.close()
    robot.viewer = robot.window = robot.session = None  # napari looks for leaks
    assert not unforeseen.questions, "the window asked what no test answers"


@pytest.fixture(scope="session")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The surroundings of one hippocampus of the MNI152 template, as NIfTI."""
    from diffseg.segmenters.template import mni152_path

    brain = Volume.read(mni152_path())
    image = nib.load(mni152_path())
    voxels = np.asarray(brain.data[0]).T  # (i, j, k)
    assert voxels.shape == image.shape
    low = np.array([53, 86, 36])
    box = tuple(slice(a, a + n) for a, n in zip(low, (36, 51, 40), strict=True))
    affine = image.affine.copy()
    affine[:3, 3] = image.affine[:3, :3] @ low + image.affine[:3, 3]
    path = tmp_path_factory.mktemp("images") / "brain.nii.gz"
    nib.save(nib.Nifti1Image(voxels[box].astype(np.float32), affine), path)
    return path
