"""Runs jobs one after another in a worker's process, and tells how they go."""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Lock, Thread, current_thread
from typing import Any
from weakref import WeakSet

from diffseg.engine.carrier import Carrier
from diffseg.engine.events import Event, Failed, Job, Listener, Machine
from diffseg.engine.faults import verdict
from diffseg.engine.link import Link
from diffseg.engine.tickets import Teller, Ticket
from diffseg.errors import DiffsegError

_OPEN: WeakSet[Engine] = WeakSet()


class Engine:
    """Models in a process of their own, or on a scheduler's workers.

    Jobs run one at a time, in order. Listeners are called in a thread of the
    engine. Nothing that is returned or told holds anything of torch.

    Parameters
    ----------
    address : str
        Of a Dask scheduler, such as ``tcp://host:8786``; "" or ``local`` starts a
        worker process here.
    threads : int, optional
        CPU threads that a model takes. Without it all cores but one here, and
        what the workers have elsewhere.

    Examples
    --------
    >>> engine = Engine(threads=1)
    >>> engine.on_state = print  # "starting", "ready", or what is wrong
    """

    def __init__(self, address: str = "", *, threads: int | None = None) -> None:
        self.on_state: Callable[[str], Any] | None = None
        self.address = "" if address == "local" else address
        default = 0 if self.address else max(1, _cores() - 1)
        self._threads = threads if threads is not None else default
        self._starting = Lock()
        self._carrier: Carrier | None = None
        self._opening: Link | None = None
        self._closed = False
        self._queue: deque[Ticket] = deque()
        self._queued = Condition(Lock())
        self._running: Ticket | None = None
        self._teller = Teller()
        self._thread = Thread(target=self._work, name="diffseg-engine", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    @classmethod
    def from_environment(cls, threads: int | None = None) -> Engine:
        """Make the engine that ``DIFFSEG_ENGINE`` names: ``local`` or an address."""
        return cls(os.environ.get("DIFFSEG_ENGINE", "").strip(), threads=threads)

    def start(self) -> None:
        """Start the worker and wait for it; does nothing where it runs.

        Raises
        ------
        UserError
            No scheduler answers at the address.
        DiffsegError
            The worker did not start, or the engine is closed.
        """
        self._started()

    def propose(self, job: Job, listener: Listener) -> Ticket:
        """Have a request answered; returns at once.

        The listener is told `Advanced` any number of times, then `Finished`,
        `Failed` or `Stopped` once. The arrays of a proposal may be read-only.
        """
        return self._put(Ticket("propose", job, job.model, listener, self._teller))

    def plan(self, job: Job, listener: Listener) -> Ticket:
        """Have it estimated what a request takes; returns at once.

        As `propose`, with `Planned` in the place of `Finished`.
        """
        return self._put(Ticket("plan", job, job.model, listener, self._teller))

    def warm(self, model: str = "") -> None:
        """Load torch and a model ahead of the first job; returns at once."""
        ticket = Ticket("warm", None, model, self._on_warm, self._teller)
        with self._queued:
            for one in [one for one in self._queue if one.task == "warm"]:
                self._queue.remove(one)  # only the last wish counts
        self._put(ticket)

    def machine(self, device: str = "auto") -> Machine:
        """Where models run; waits for the worker, but not for its job.

        Raises
        ------
        UserError
            The device is not there.
        DiffsegError
            The worker does not answer.
        """
        link = self._started().link
        try:
            return link.machine(device)
        except (OSError, TimeoutError, KeyError):
            link.await_worker()
            return link.machine(device)

    def close(self) -> None:
        """Stop all jobs, end the worker and remove every file; for good."""
        with self._queued:
            if self._closed:
                return
            self._closed = True
            tickets = [*self._queue, *([self._running] if self._running else [])]
            self._queue.clear()
            self._queued.notify_all()
        for ticket in tickets:
            ticket.cancel()
        self._teller.close()
        opening = self._opening
        if opening is not None:
            opening.close()  # the start that waits for it fails, and lets go
        with self._starting:
            carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.link.close()
        if current_thread() is not self._thread:
            self._thread.join(timeout=5)
        _OPEN.discard(self)

    def _started(self) -> Carrier:
        with self._starting:
            if self._closed:
                raise DiffsegError("the engine is closed")
            if self._carrier is not None:
                return self._carrier
            self._say("starting")
            try:
                self._opening = link = Link(self.address, self._threads)
                try:
                    if self._closed:  # it looked for a start to break off before
                        raise DiffsegError("the engine is closed")
                    link.await_worker()
                except BaseException:
                    link.close()
                    raise
                finally:
                    self._opening = None
            except Exception as error:
                failure = verdict("engine start", error)
                self._say(failure.message)
                if isinstance(error, DiffsegError):
                    raise
                raise DiffsegError(failure.message) from error
            self._carrier = Carrier(link, self._say)
            self._say("ready")
            return self._carrier

    def _put(self, ticket: Ticket) -> Ticket:
        with self._queued:
            if not self._closed:
                self._queue.append(ticket)
                self._queued.notify_all()
                return ticket
        raise DiffsegError("the engine is closed")

    def _work(self) -> None:
        """Carry out one job after another: the engine's own thread."""
        while True:
            with self._queued:
                self._running = None
                self._queued.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                ticket = self._running = self._queue.popleft()
            if ticket.over:
                continue
            try:
                carrier = self._started()
                fresh = carrier.carry(ticket)
            except Exception as error:
                ticket.finish(verdict(f"engine {ticket.task}", error))
                continue
            # A model that ends its process while it loads would do so for ever.
            if fresh and not self._queue and ticket.task != "warm":
                with suppress(DiffsegError):
                    self.warm(carrier.last_model)

    def _on_warm(self, event: Event) -> None:
        if isinstance(event, Failed):
            self._say(event.message)

    def _say(self, state: str) -> None:
        if self.on_state is not None and not self._closed:
            say = self.on_state
            self._teller.put(lambda: say(state))


def _cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@atexit.register
def _close_all() -> None:
    for engine in list(_OPEN):
        engine.close()
