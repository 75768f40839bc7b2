"""The window measured from within: ``python -m napari_diffseg.plugin.measuring``.

It prints one JSON object a line: marks, at which it waits for a line on its
standard input, and at last what it found. `benchmark` reads them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

_PATIENCE_S = 300.0
_LOOK_MS = 4
_REST_S = 1.0


class Robot:
    """Hands and eyes for one window.

    Parameters
    ----------
    viewer : napari.Viewer
    window : napari_diffseg.plugin.window.Window
    """

    def __init__(self, viewer: Any, window: Any) -> None:
        self.viewer = viewer
        self.window = window
        self.session = window.desk.session
        self.slices = 0
        show = window.canvas.show_preview

        def seen(case: Any, preview: Any) -> None:
            show(case, preview)
            self.slices += 1

        window.canvas.show_preview = seen

    def click(self, handle: str) -> None:
        """Press the button of that handle, once it can be pressed."""
        from qtpy.QtWidgets import QAbstractButton

        button = self.window.dock.findChild(QAbstractButton, handle)
        if button is None:
            raise LookupError(f"no button {handle}")
        wait(button.isEnabled, f"{handle} can be pressed")
        button.click()

    def open(self, path: Path) -> Any:
        """Open an image and wait until it is the current case."""
        before = len(self.session.cases)
        self.window.desk.open(str(path))
        wait(lambda: len(self.session.cases) > before, f"{path.name} is open")
        return self.session.current

    def first_slice(self) -> float:
        """Press Propose; seconds until a slice is on the screen."""
        from qtpy.QtWidgets import QApplication

        before, began = self.slices, time.perf_counter()
        self.click("diffseg.propose.run")
        wait(lambda: self.slices > before, "a slice appears")
        QApplication.processEvents()  # which paints it
        return time.perf_counter() - began

    def wait_idle(self) -> None:
        """Wait until no job runs."""
        wait(lambda: self.session.busy is None, "nothing runs")

    def rest(self) -> None:
        """Let the window live for a while."""
        began = time.perf_counter()
        wait(lambda: time.perf_counter() - began > _REST_S, "it has rested")

    def wait_worker(self) -> None:
        """Wait until the worker says what it does."""

        def heard() -> bool:
            busy = self.session.busy
            return busy is not None and not busy.message.endswith("starting ...")

        wait(heard, "the worker works")


def wait(condition: Callable[[], Any], what: str) -> None:
    """Let the window live until `condition` holds."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, began = QEventLoop(), time.perf_counter()
    timer = QTimer()

    def look() -> None:
        if condition() or time.perf_counter() - began > _PATIENCE_S:
            loop.quit()

    timer.timeout.connect(look)
    timer.start(_LOOK_MS)
    if not condition():
        loop.exec()
    timer.stop()
    if not condition():
        raise TimeoutError(f"after {_PATIENCE_S:.0f} s still waiting until {what}")


def measure(mark: Callable[[str], None], scratch: Path, model: str) -> dict[str, Any]:
    """Measure everything, one after another; `mark` tells where we are."""
    import napari
    from qtpy.QtWidgets import QApplication

    from diffseg.project.journal import Journal
    from napari_diffseg.plugin.measuring_large import large_volume
    from napari_diffseg.plugin.samples import brain_file, hippocampus_file
    from napari_diffseg.plugin.window import assemble, dock_into

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1000)
    QApplication.processEvents()
    mark("empty")
    began = time.perf_counter()
    window = assemble(viewer, journal=Journal(scratch / "journal"))
    dock_into(viewer, window)
    wait(window.dock.isVisible, "the panels are there")
    QApplication.processEvents()
    found: dict[str, Any] = {"dock_s": time.perf_counter() - began}
    robot = Robot(viewer, window)
    if model:
        window.dock.model.model_chosen.emit(model)
    robot.open(hippocampus_file(scratch))
    found["cold_s"] = robot.first_slice()
    robot.wait_idle()
    found["warm_s"] = robot.first_slice()
    robot.wait_idle()
    found["model"] = robot.session.model_name
    robot.open(brain_file(scratch))
    found |= _watched_run(robot, mark)
    found |= _cancelled_run(robot)
    found |= large_volume(robot, scratch)
    window.close()
    return found


def _watched_run(robot: Robot, mark: Callable[[str], None]) -> dict[str, Any]:
    """A whole brain twice: its beats, then, for the parent to weigh, once more."""
    from napari_diffseg.plugin.heartbeat import Heart

    heart = Heart()
    heart.start()
    began = time.perf_counter()
    robot.click("diffseg.propose.run")
    robot.wait_idle()
    seconds = time.perf_counter() - began
    robot.rest()  # what is put off until the run has ended counts as well
    told = asdict(heart.stop())
    mark("weigh")
    robot.click("diffseg.propose.run")
    robot.wait_idle()
    mark("weighed")
    return {**told, "brain_s": seconds}


def _cancelled_run(robot: Robot) -> dict[str, float]:
    robot.first_slice()
    began = time.perf_counter()
    robot.click("diffseg.propose.cancel")
    robot.wait_idle()
    cancelled = time.perf_counter() - began
    robot.click("diffseg.propose.run")
    robot.wait_worker()
    again = time.perf_counter() - began
    robot.click("diffseg.propose.cancel")
    robot.wait_idle()
    return {"cancel_s": cancelled, "again_s": again}


def main(model: str = "") -> int:
    """Measure, and print what was found."""
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not ours to say

    def say(content: dict[str, Any]) -> None:
        out.write(json.dumps(content) + "\n")
        out.flush()

    def mark(name: str) -> None:
        say({"mark": name})
        sys.stdin.readline()

    with tempfile.TemporaryDirectory(prefix="diffseg-bench-") as scratch:
        say({"found": measure(mark, Path(scratch), model)})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
