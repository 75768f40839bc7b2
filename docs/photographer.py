"""A robot with a camera: drives a real window by its handles and mouse.

`make_pictures.py` and `make_loop_pictures.py` make the pages' pictures with it.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_diffseg.plugin.screen import virtual_screen

PICTURES = Path(__file__).parent / "pictures"
SIZE = (1600, 1000)
PATIENCE_S = 900.0
SETTLE_S = 0.8
PLANES_WIDTH, DOCK_WIDTH = 330, 372


class Photographer:
    """Hands, eyes and a camera for one window.

    Parameters
    ----------
    viewer : napari.Viewer
    window : napari_diffseg.plugin.window.Window
    """

    def __init__(self, viewer: Any, window: Any) -> None:
        self.viewer, self.window = viewer, window
        self.session = window.desk.session

    def find(self, handle: str) -> Any:
        """The control of that handle (docs/handles.md)."""
        from qtpy.QtCore import QObject

        found = self.window.dock.findChild(QObject, handle)
        if found is None:
            raise LookupError(f"no control {handle}")
        return found

    def click(self, handle: str) -> None:
        """Press a button with the left mouse button, once it can be pressed."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        button = self.find(handle)
        self.wait(button.isEnabled, f"{handle} can be pressed")
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def type_in(self, handle: str, text: str) -> None:
        """Type into a field, in place of what is there."""
        from qtpy.QtTest import QTest

        field = self.find(handle)
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, text)

    def press(self, key: str) -> None:
        """Press one of our keys on the canvas."""
        from qtpy.QtTest import QTest

        widget = canvas_widget()
        widget.setFocus()
        QTest.keySequence(widget, key)
        self.live(0.1)

    def choose(self, handle: str, data: object) -> None:
        """Choose an entry of a list to open."""
        combo = self.find(handle)
        at = next(n for n in range(combo.count()) if combo.itemData(n) == data)
        combo.setCurrentIndex(at)
        combo.activated.emit(at)
        self.live(0.1)

    def open(self, path: Path) -> None:
        """Type a path into the case panel and press Enter."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        line = self.find("diffseg.case.path")
        line.setText(str(path))
        QTest.keyClick(line, Qt.Key.Key_Return)
        self.wait(lambda: self.session.current, f"{path.name} is open")

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Let the window live until `condition` holds."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(f"still waiting until {what}")
            self.live(0.01)

    def live(self, seconds: float = SETTLE_S) -> None:
        """Let the window live for a while: it paints what has changed."""
        from qtpy.QtTest import QTest

        QTest.qWait(int(seconds * 1000))

    def show_panel(self, handle: str) -> None:
        """Scroll the dock so that a panel is at its top, or as high as it can be."""
        area, content = self.find("diffseg.scroll"), self.find("diffseg.panels")
        panel = self.find(handle)
        top = panel.mapTo(content, panel.rect().topLeft()).y()
        area.verticalScrollBar().setValue(max(0, top - 2))
        self.live(0.1)

    def clear_notices(self) -> None:
        """Take every line off the strip."""
        while self.window.dock.notices.text():
            self.click("diffseg.notices.close.0")
            self.live(0.05)

    def look(self, zoom: float, down: float = 0.0, across: float = 0.0) -> None:
        """Bring the camera near, and move it by millimetres from where it is."""
        camera = self.viewer.scene.camera
        depth, y, x = camera.center
        camera.center = (depth, y + down, x + across)
        camera.zoom = zoom
        self.live()

    def whole(self) -> None:
        """Fit the slice into the canvas."""
        self.viewer.reset_view()
        self.live()

    def edge_of(self, case: Any, value: int) -> tuple[float, float]:
        """The right end of a structure in the slice shown, in mm from the middle."""
        from napari_diffseg.layers.mask_layer import MaskLayer

        layer = next(one for one in self.viewer.layers if isinstance(one, MaskLayer))
        plane = int(self.viewer.dims.current_step[0])
        rows, columns = np.nonzero(layer.data[plane] == value)
        at = int(columns.argmax())
        _, y, x = layer.data_to_world((plane, rows[at], columns[at]))
        _, y0, x0 = self.viewer.scene.camera.center
        return x - x0, y - y0

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Draw with the left button through points (x, y), in mm from the middle."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        widget = canvas_widget()
        middle = widget.width() / 2, widget.height() / 2
        zoom = self.viewer.scene.camera.zoom
        spots = [
            QPoint(round(middle[0] + x * zoom), round(middle[1] + y * zoom))
            for x, y in points
        ]
        button, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(widget, spots[0])
        self.live(0.05)
        QTest.mousePress(widget, button, no_key, spots[0])
        for spot in spots[1:]:
            QTest.mouseMove(widget, spot)
            self.live(0.03)
        QTest.mouseRelease(widget, button, no_key, spots[-1])
        self.live()

    def take(self, name: str) -> None:
        """Write the whole window."""
        pixels = self.viewer.window.screenshot(canvas_only=False, flash=False)
        save(np.asarray(pixels)[..., :3], name)

    def crop(self, name: str, *handles: str) -> None:
        """Write what panels show, one below the other, however far one scrolls."""
        from qtpy.QtGui import QImage

        pieces = []
        for handle in handles:
            panel = self.find(handle)
            seen = panel.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
            rows = np.frombuffer(bytes(seen.constBits()), np.uint8)
            rows = rows.reshape(seen.height(), seen.bytesPerLine())
            pixels = rows[:, : 3 * seen.width()]
            pieces.append(pixels.reshape(seen.height(), seen.width(), 3))
        save(np.concatenate(pieces), name)


def canvas_widget() -> Any:
    """The widget of napari's canvas, known by the name of its class."""
    from qtpy.QtWidgets import QApplication, QWidget

    for top in QApplication.topLevelWidgets():
        for one in top.findChildren(QWidget):
            if one.metaObject().className() == "CanvasBackendDesktop":
                return one
    raise LookupError("no canvas")


def widen_planes(dock: Any) -> None:
    """Give the other planes more room, as one does by dragging their edge."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget

    main = dock.window()
    frames = {one.windowTitle(): one for one in main.findChildren(QDockWidget)}
    both = [frames["Planes"], frames["DiffSeg"]]
    main.resizeDocks(both, [PLANES_WIDTH, DOCK_WIDTH], Qt.Orientation.Horizontal)


def save(pixels: np.ndarray[Any, Any], name: str) -> None:
    """Write a PNG, as small as it can be without losing a colour."""
    path = PICTURES / f"{name}.png"
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, optimize=True)
    height, width = pixels.shape[:2]
    print(f"{path.name}: {width} x {height}, {path.stat().st_size:,} B")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of a short name, as the window shows it."""
    folder = Path(tempfile.gettempdir()) / "scans"
    folder.mkdir()  # refuses one that is there: it is somebody's
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def photographed(home: Path) -> Iterator[Photographer]:
    """A window on a virtual screen, away from the user's settings and models."""
    PICTURES.mkdir(exist_ok=True)
    os.environ["NAPARI_CONFIG"] = ""  # nobody's own settings
    os.environ["DIFFSEG_HOME"] = str(home)
    random.seed(0)  # of the tip that napari shows while empty
    with virtual_screen(*SIZE):
        import napari
        from qtpy.QtWidgets import QApplication

        from napari_diffseg.plugin.window import assemble, dock_into

        viewer = napari.Viewer(title="DiffSeg")
        viewer.window.resize(*SIZE)
        QApplication.processEvents()
        window = assemble(viewer)
        dock_into(viewer, window)
        try:
            yield Photographer(viewer, window)
        finally:
            window.close()
            viewer.close()
