"""The engine for a window: jobs start at once, their events come in its thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, Thread
from typing import Any, Protocol

from qtpy.QtCore import QObject, Signal

from diffseg.engine import Advanced, Event, Failed, Job, Listener, Machine, Stopped
from diffseg.errors import DiffsegError
from napari_diffseg.jobs.threads import GuiThread
from napari_diffseg.views import Ticket

Start = Callable[[Job, Listener], Ticket]


class EngineLike(Protocol):
    """What a runner asks of `diffseg.engine.Engine`."""

    on_state: Callable[[str], Any] | None

    def start(self) -> None:
        """Start the worker; blocks, and does nothing where it runs."""

    def propose(self, job: Job, listener: Listener) -> Ticket:
        """Start a proposal."""

    def plan(self, job: Job, listener: Listener) -> Ticket:
        """Start an estimate."""

    def warm(self, model: str = "") -> None:
        """Load torch and a model ahead of the first job."""

    def machine(self, device: str = "auto") -> Machine:
        """Where models run; blocks."""

    def close(self) -> None:
        """End the worker."""


class PendingTicket:
    """A job that may not have reached the engine yet, and can be cancelled then."""

    def __init__(self, stopped: Callable[[], None]) -> None:
        self._lock = Lock()
        self._inner: Ticket | None = None
        self._stopped = stopped
        self.cancelled = False

    def cancel(self) -> None:
        """Ask it to stop; returns at once."""
        with self._lock:
            if self.cancelled:
                return
            self.cancelled = True
            inner = self._inner
        if inner is not None:
            inner.cancel()
        else:
            self._stopped()

    def started(self, start: Callable[[], Ticket]) -> None:
        """Start the job, unless it was cancelled before."""
        if self._is_cancelled():
            return
        inner = start()
        with self._lock:
            self._inner = inner
        if self._is_cancelled():
            inner.cancel()

    def _is_cancelled(self) -> bool:
        with self._lock:
            return self.cancelled


class QtRunner(QObject):
    """The engine, with its events told in the thread of the window.

    Parameters
    ----------
    engine : EngineLike
        Started in the background by the first job or by `warm`.
    """

    machine_found = Signal(object)
    state_changed = Signal(str)

    def __init__(self, engine: EngineLike, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self._gui = GuiThread(self)
        # One thread keeps jobs in order; the other may wait for the worker to load.
        self._jobs = ThreadPoolExecutor(1, thread_name_prefix="diffseg-jobs")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="diffseg-loading")
        engine.on_state = self._on_state

    def propose(self, job: Job, listener: Listener) -> Ticket:
        """Start a proposal; returns at once."""
        return self._start(self._engine.propose, job, listener)

    def plan(self, job: Job, listener: Listener) -> Ticket:
        """Start an estimate; returns at once."""
        return self._start(self._engine.plan, job, listener)

    def warm(self, model: str = "") -> None:
        """Start the worker, and load a model into it; returns at once."""
        self._loading.submit(self._warm, model)

    def close(self) -> None:
        """End the worker, without making the window wait for it."""
        self._gui.close()
        self._engine.on_state = None
        # Beside both pools: one of them may still wait for the worker to start.
        Thread(target=self._engine.close, name="diffseg-close").start()
        self._loading.shutdown(wait=False, cancel_futures=True)
        self._jobs.shutdown(wait=False, cancel_futures=True)

    def _start(self, start: Start, job: Job, listener: Listener) -> Ticket:
        over = False  # the last event is told once, whoever tells it first

        def deliver(event: Event) -> None:
            nonlocal over
            if over:
                return
            over = not isinstance(event, Advanced)
            listener(event)

        def told(event: Event) -> None:
            self._gui.call(lambda: deliver(event))

        ticket = PendingTicket(lambda: told(Stopped()))
        self._jobs.submit(self._begin, ticket, start, job, told)
        return ticket

    def _begin(
        self, ticket: PendingTicket, start: Start, job: Job, told: Listener
    ) -> None:
        try:
            self._engine.start()
            ticket.started(lambda: start(job, told))
        except DiffsegError as error:
            told(Failed(str(error), error.exit_status))
        except Exception as error:
            told(Failed(f"the engine did not take the job: {error}"))

    def _warm(self, model: str) -> None:
        try:
            self._engine.start()
            self._engine.warm(model)
            machine = self._engine.machine()
        except Exception as error:
            line = f"models cannot run: {error}"
            self._gui.call(lambda: self.state_changed.emit(line))
        else:
            self._gui.call(lambda: self.machine_found.emit(machine))

    def _on_state(self, state: str) -> None:
        self._gui.call(lambda: self.state_changed.emit(state))
