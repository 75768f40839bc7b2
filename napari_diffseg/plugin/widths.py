"""Docks as wide as their contents want, until napari has laid its window out."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow

TURN_MS = 50
TURNS = 40
HELD_FOR = 10
_NEARLY = 8


class Widths(QObject):
    """Gives docks their widths until these hold for a while, or 2 s have passed.

    When a window is shown, and while napari adds docks of its own, Qt shares the
    width out anew, more than once, and at no time that one could wait for. Counted
    from when the window is first seen; over at once when the user takes a splitter.

    Parameters
    ----------
    main : QMainWindow
    docks : tuple of QDockWidget
        Side by side in one area of it.
    widths : tuple of int
        Their widths in pixels.
    """

    def __init__(
        self,
        main: QMainWindow,
        docks: tuple[QDockWidget, ...],
        widths: tuple[int, ...],
    ) -> None:
        super().__init__(main)
        self._main: QMainWindow | None = main
        self._docks, self._wanted = docks, widths
        self._turns = self._held = 0
        self._timer = QTimer(self)
        self._timer.setInterval(TURN_MS)
        self._timer.timeout.connect(self._turn)
        main.installEventFilter(self)
        self._share()
        self._timer.start()

    def stop(self) -> None:
        """Leave the widths to the user, and let go of the window."""
        self._timer.stop()
        if self._main is not None:
            self._main.removeEventFilter(self)
        self._main, self._docks = None, ()
        self.setParent(None)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at what happens to the window; stop nothing."""
        if event is not None and watched is self._main:
            # Docks and canvas take their own presses: what reaches the window itself
            # is for a splitter between docks.
            if event.type() == QEvent.Type.MouseButtonPress:
                self.stop()
            elif event.type() in (QEvent.Type.Show, QEvent.Type.Resize):
                self._held = 0
        return False

    def _turn(self) -> None:
        if self._main is None or not self._main.isVisible():
            return
        self._turns += 1
        pairs = zip(self._docks, self._wanted, strict=True)
        if all(abs(dock.width() - width) <= _NEARLY for dock, width in pairs):
            self._held += 1
        else:
            self._held = 0
            self._share()
        if self._held >= HELD_FOR or self._turns >= TURNS:
            self.stop()

    def _share(self) -> None:
        if self._main is not None:
            self._main.resizeDocks(
                list(self._docks), list(self._wanted), Qt.Orientation.Horizontal
            )
