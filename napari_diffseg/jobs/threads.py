"""Work beside the window's thread, and the way back into it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from qtpy.QtCore import QObject, QTimer, Signal

Result = TypeVar("Result")


class GuiThread(QObject):
    """Calls functions in the thread that made it, from any thread."""

    _wanted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open = True
        self._wanted.connect(self._call)

    def call(self, fn: Callable[[], Any]) -> None:
        """Have `fn` called when the window is next idle; returns at once."""
        if not self._open:
            return
        try:
            self._wanted.emit(fn)
        except RuntimeError:  # Qt has deleted the window: nobody is left to tell
            self._open = False

    def close(self) -> None:
        """Drop all that is still to be called."""
        self._open = False

    def _call(self, fn: Callable[[], Any]) -> None:
        if self._open:
            fn()


class Background:
    """Runs slow functions one after another in a thread of their own.

    Parameters
    ----------
    gui : GuiThread
        Where results are told.
    finish : bool
        Whether what waits is still done once the window is closed.
    """

    def __init__(self, gui: GuiThread, *, finish: bool = False) -> None:
        self._gui = gui
        self._finish = finish
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="diffseg-background")

    def __call__(
        self,
        fn: Callable[[], Result],
        done: Callable[[Result], Any],
        failed: Callable[[Exception], Any],
    ) -> None:
        """Run `fn`; then call `done` or `failed` in the window's thread."""

        def told(future: Future[Result]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                result = future.result()
                self._gui.call(lambda: done(result))
            elif isinstance(error, Exception):
                self._gui.call(lambda: failed(error))

        self._pool.submit(fn).add_done_callback(told)

    def close(self) -> None:
        """Finish what is running, and drop what waits unless it was to be finished."""
        self._pool.shutdown(wait=False, cancel_futures=not self._finish)


class Later(QObject):
    """Calls functions after a pause, as long as the window is there."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: set[QTimer] = set()

    def __call__(self, milliseconds: int, fn: Callable[[], Any]) -> None:
        """Call `fn` in the window's thread, `milliseconds` from now."""
        timer = QTimer(self)
        timer.setSingleShot(True)

        def ring() -> None:
            self._forget(timer)
            fn()

        timer.timeout.connect(ring)
        self._waiting.add(timer)
        timer.start(milliseconds)

    def close(self) -> None:
        """Call nothing that still waits."""
        for timer in tuple(self._waiting):
            self._forget(timer)

    def _forget(self, timer: QTimer) -> None:
        self._waiting.discard(timer)
        timer.stop()
        timer.deleteLater()
