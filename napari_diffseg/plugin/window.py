"""The whole window put together: the one place where every part meets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from diffseg.engine import Engine
from diffseg.errors import DiffsegError
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals
from napari_diffseg.jobs.runner import EngineLike, QtRunner
from napari_diffseg.jobs.threads import Background, GuiThread, Later
from napari_diffseg.jobs.works import Works
from napari_diffseg.layers.canvas import NapariCanvas
from napari_diffseg.plugin.surroundings import Surroundings
from napari_diffseg.presenters.desk import Desk
from napari_diffseg.widgets.dock import Dock

if TYPE_CHECKING:
    import napari

    from napari_diffseg.session import Case

SIZE = (1600, 1000)
PATIENCE_MS = 240_000
SETTLE_MS = 1_500

_OPEN: dict[Any, Window] = {}
"""A viewer has one window of ours, however often its dock is asked for."""


class Window:
    """The dock with all that stands behind it, for one napari viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : EngineLike
        Where models run; started in the background.
    journal : Journal
    """

    def __init__(
        self, viewer: napari.Viewer, engine: EngineLike, journal: Journal
    ) -> None:
        self.viewer = viewer
        self.dock = Dock()
        self.canvas = NapariCanvas(viewer)
        self.runner = QtRunner(engine, parent=self.dock)
        self.journal = Journals(journal)
        self.gui = GuiThread(self.dock)
        self._background = Background(self.gui)
        # A file that was asked for is written, whatever is read, or closed, meanwhile.
        self._writing = Background(self.gui, finish=True)
        # One after another, as a version follows from the one before.
        self._keeping = Background(self.gui, finish=True)
        self._works = Works(self.gui)
        self._later = Later(self.dock)
        self.desk = Desk(
            self.dock,
            self.canvas,
            self.runner,
            self.journal,
            background=self._background,
            writing=self._writing,
            keeping=self._keeping,
            works=self._works,
            later=self._later,
            pause=self._later,
            in_gui=self.gui.call,
        )
        self.surroundings = Surroundings(viewer, self.dock, self.canvas, self.desk)
        self._closed = False
        self._watch = Watch(self.dock, self.surroundings.place, self.close)

    def close(self) -> None:
        """Keep every stroke, end the worker; the layers stay as they are."""
        if self._closed:
            return
        self._closed = True
        _OPEN.pop(self.viewer, None)
        self._watch.stop()
        self.surroundings.close()
        self.desk.close()
        self.canvas.fall_silent()
        self._later.close()
        self.gui.close()
        self._works.close()
        self._background.close()
        self._writing.close()
        self._keeping.close()
        self.runner.close()


class Watch(QObject):
    """Tells when a dock is first seen, and when its window is about to go.

    Parameters
    ----------
    dock : QWidget
    seen, going : callable
        Called once each; `going` while every widget is still alive.
    """

    def __init__(
        self, dock: QWidget, seen: Callable[[], None], going: Callable[[], None]
    ) -> None:
        super().__init__(dock)
        self._dock, self._seen, self._going = dock, seen, going
        self._main: QWidget | None = None
        dock.installEventFilter(self)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(going)

    def stop(self) -> None:
        """Let go of the dock and its window."""
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.disconnect(self._going)
        for one in (self._main, self._dock):
            if one is not None:
                one.removeEventFilter(self)
        self._main = None

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at what comes by; stop nothing."""
        if event is None:
            return False
        if event.type() == QEvent.Type.Show and self._main is None:
            self._main = self._dock.window()
            self._main.installEventFilter(self)
            # Later: napari is still placing the dock.
            QTimer.singleShot(0, self._seen)
        elif event.type() == QEvent.Type.DeferredDelete and watched in (
            self._main,
            self._dock,
        ):
            self._going()
        return False


def assemble(
    viewer: napari.Viewer,
    engine: EngineLike | None = None,
    journal: Journal | None = None,
) -> Window:
    """Put a window together for `viewer`; not yet docked.

    Parameters
    ----------
    engine : EngineLike, optional
        The one that ``DIFFSEG_ENGINE`` names, or a local worker, without it.
    journal : Journal, optional
        In the user's folder without it.
    """
    if viewer not in _OPEN:
        _OPEN[viewer] = Window(
            viewer, engine or Engine.from_environment(), journal or Journal()
        )
    return _OPEN[viewer]


def open_window(
    images: Sequence[str],
    *,
    propose: bool = False,
    screenshot: Path | None = None,
) -> None:
    """Open napari with the dock and images, and return once it is closed.

    Parameters
    ----------
    images : sequence of str
        Files or folders; channels of one image are joined by ";".
    propose : bool
        Start a proposal for the first image.
    screenshot : Path, optional
        Write a picture of the window as soon as it shows what was asked for,
        and close it.

    Raises
    ------
    DiffsegError
        With `screenshot`: what was asked for did not come about in time.
    """
    import napari

    viewer = napari.Viewer(title="DiffSeg")
    viewer.window.resize(*SIZE)
    with ExitStack() as scratch:
        journal = None
        if screenshot is not None:  # a picture asks nobody about earlier strokes
            folder = scratch.enter_context(TemporaryDirectory(prefix="diffseg-"))
            journal = Journal(Path(folder))
        window = assemble(viewer, journal=journal)
        dock_into(viewer, window)
        errand = Errand(window, propose=propose, screenshot=screenshot)
        for image in images:
            window.desk.open(image)
        napari.run()
    if errand.trouble:
        raise DiffsegError(errand.trouble)


def dock_into(viewer: napari.Viewer, window: Window) -> None:
    """Dock the panels on the right of `viewer`."""
    viewer.window.add_dock_widget(window.dock, name="DiffSeg", area="right")


class Errand:
    """What a window is opened for by a command: propose, take a picture, close.

    Parameters
    ----------
    window : Window
    propose : bool
        Start a proposal for the first case that opens.
    screenshot : Path, optional
        Write a picture once that is done, and close the window; goes with `propose`.
    """

    def __init__(
        self, window: Window, *, propose: bool, screenshot: Path | None
    ) -> None:
        self.window = window
        self.propose = propose
        self.screenshot = screenshot
        self.trouble = ""
        self._later = Later(window.dock)
        session = window.desk.session
        if propose:
            session.case_added.connect(self._on_case)
            session.case_changed.connect(self._on_change)
        if screenshot is not None:
            self._later(PATIENCE_MS, self._give_up)

    def _on_case(self, case: Case) -> None:
        self.window.desk.session.case_added.disconnect(self._on_case)
        self._later(0, self.window.dock.propose.run_requested.emit)

    def _on_change(self, case: Case, aspect: str) -> None:
        if aspect == "proposal" and case.proposal is not None:
            self.window.desk.session.case_changed.disconnect(self._on_change)
            self._later(SETTLE_MS // 2, self._look)

    def _look(self) -> None:
        """Show where the members disagree most, as a reader would go on."""
        dock = self.window.dock
        dock.review.next_requested.emit()
        dock.result.view_chosen.emit("uncertainty")
        dock.reveal(dock.result)
        if self.screenshot is not None:
            self._later(SETTLE_MS, self._take_picture)

    def _take_picture(self) -> None:
        self.window.viewer.window.screenshot(
            str(self.screenshot), canvas_only=False, flash=False
        )
        self._close()

    def _give_up(self) -> None:
        said = self.window.dock.notices.text()
        self.trouble = f"no proposal was shown within {PATIENCE_MS // 1000} s; {said}"
        self._close()

    def _close(self) -> None:
        self.window.close()
        self.window.viewer.close()
