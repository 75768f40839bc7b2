"""How late the window's thread is: a timer that should ring every 10 ms."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer

INTERVAL_S = 0.010
_PAINTING = frozenset(
    (QEvent.Type.Paint, QEvent.Type.UpdateRequest, QEvent.Type.UpdateLater)
)


@dataclass(frozen=True, slots=True)
class Lateness:
    """What a heart told.

    Parameters
    ----------
    p99_s, max_s : float
        How late beats were, the time that windows were painted left out.
    painted_p99_s, painted_max_s : float
        The same with it.
    beats : int
    """

    p99_s: float
    max_s: float
    painted_p99_s: float
    painted_max_s: float
    beats: int


class PaintWatch(QObject):
    """Adds up the seconds in which windows are painted.

    Painting goes on from an event that asks for it until the next event of
    another kind, so an idle moment after it counts as well; nobody waits then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since: float | None = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Look at an event on its way; let it pass."""
        self.look(event.type() in _PAINTING)
        return False

    def look(self, painting: bool) -> None:
        """Close the interval that is open; open one where `painting`."""
        now = time.perf_counter()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = now if painting else None


class Heart(QObject):
    """Beats in the window's thread, and notes how late."""

    def __init__(self) -> None:
        super().__init__()
        self._paint = PaintWatch()
        self._gaps: list[tuple[float, float]] = []
        self._last = (0.0, 0.0)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(round(INTERVAL_S * 1000))
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        """Begin."""
        app = QCoreApplication.instance()
        assert app is not None
        app.installEventFilter(self._paint)
        self._gaps.clear()
        self._last = (time.perf_counter(), self._paint.seconds)
        self._timer.start()

    def stop(self) -> Lateness:
        """End, and tell."""
        self._beat()
        self._timer.stop()
        app = QCoreApplication.instance()
        if app is not None:
            app.removeEventFilter(self._paint)
        return lateness(self._gaps)

    def _beat(self) -> None:
        self._paint.look(False)
        now = (time.perf_counter(), self._paint.seconds)
        self._gaps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def lateness(gaps: list[tuple[float, float]]) -> Lateness:
    """Sum up gaps between beats: seconds, and how many of them were painting."""
    table = np.asarray(gaps, dtype=np.float64).reshape(-1, 2)
    late = np.maximum(table[:, 0] - INTERVAL_S, 0.0)
    own = np.maximum(late - table[:, 1], 0.0)
    return Lateness(
        p99_s=float(np.percentile(own, 99)),
        max_s=float(own.max()),
        painted_p99_s=float(np.percentile(late, 99)),
        painted_max_s=float(late.max()),
        beats=len(table),
    )
