"""Generators of `Progress` beside the window, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Flag
from threading import Thread
from typing import Any
from weakref import WeakSet

from diffseg.engine import Advanced, Failed, Stopped
from diffseg.engine.faults import verdict
from diffseg.progress import Work
from napari_diffseg.jobs.threads import GuiThread
from napari_diffseg.views import Done, WorkEvent

Start = Callable[[], Work[Any]]
Hears = Callable[[WorkEvent], Any]


class Piece:
    """A piece of work under way; a `Ticket`."""

    def __init__(self, gui: GuiThread, listener: Hears) -> None:
        self._gui, self._listener = gui, listener
        self._cancelled = Flag()
        self._over = self._stopped = False  # of the window's thread alone

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask it to stop; returns at once, and `Stopped` is told at once."""
        if not self.cancelled:
            self._cancelled.set()
            self.tell(Stopped())

    def tell(self, event: WorkEvent) -> None:
        """Tell an event in the window's thread."""
        self._gui.call(lambda: self._deliver(event))

    def _deliver(self, event: WorkEvent) -> None:
        if self._over or (self._stopped and not isinstance(event, Done)):
            return  # what is over is told once
        self._stopped = isinstance(event, Stopped)
        self._over = isinstance(event, Done | Failed)
        self._listener(event)


class Works:
    """Starts pieces of work; their events come in the window's thread.

    Parameters
    ----------
    gui : GuiThread
        Where they are told.
    """

    def __init__(self, gui: GuiThread) -> None:
        self._gui = gui
        self._pieces: WeakSet[Piece] = WeakSet()

    def __call__(self, start: Start, listener: Hears) -> Piece:
        """Start a piece of work; returns at once."""
        piece = Piece(self._gui, listener)
        self._pieces.add(piece)
        # Nothing waits for it when the window goes: what it began ends with us.
        Thread(
            target=_carry_out, args=(start, piece), name="diffseg-work", daemon=True
        ).start()
        return piece

    def close(self) -> None:
        """Cancel whatever is under way."""
        for piece in list(self._pieces):
            piece.cancel()


def _carry_out(start: Start, piece: Piece) -> None:
    try:
        work = start()
        try:
            while not piece.cancelled:
                try:
                    progress = next(work)
                except StopIteration as stop:
                    piece.tell(Done(stop.value))
                    return
                piece.tell(Advanced(progress))
        finally:
            work.close()
    except Exception as error:
        piece.tell(verdict("work beside the window", error))
    else:
        piece.tell(Stopped())
