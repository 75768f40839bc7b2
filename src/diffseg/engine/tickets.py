"""A job in hand: whom it is told to, and whether it is over."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Event, Lock, Thread, current_thread
from typing import Any
from uuid import uuid4

from diffseg.engine.events import (
    Advanced,
    Failed,
    Finished,
    Job,
    Listener,
    Planned,
    Stopped,
)
from diffseg.engine.faults import verdict
from diffseg.engine.parcel import Task
from diffseg.progress import Progress

Last = Finished | Planned | Failed | Stopped


class Teller:
    """A thread that calls listeners, one call after another in order."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="diffseg-teller", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], Any]) -> None:
        """Have `call` called; returns at once."""
        self._calls.put(call)

    def close(self) -> None:
        """Make the calls that were put, and end."""
        self._calls.put(None)
        if current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                verdict("engine listener", error)  # into the log; the rest go on


class Ticket:
    """One job, from its order to its last event.

    Parameters
    ----------
    task : {"propose", "plan", "warm"}
    job : Job, optional
        None to warm the worker.
    model : str
        The model to load; "" for none.
    listener : callable
    teller : Teller
    """

    def __init__(
        self,
        task: Task,
        job: Job | None,
        model: str,
        listener: Listener,
        teller: Teller,
    ) -> None:
        self.id = uuid4().hex
        self.task = task
        self.job = job
        self.model = model
        self.stirred = Event()
        """Something happened that whoever carries the job out must look at."""
        self.done = Event()
        """The worker has done with it."""
        self.workers: frozenset[str] = frozenset()
        """Addresses of the workers there were when it was handed over."""
        self.worker = ""
        """Address of the worker that began it."""
        self.lost = False
        """Whether a second worker began it: the first one ended."""
        self._listener = listener
        self._teller = teller
        self._lock = Lock()
        self._over = False
        self._cancelled = False
        self._heard = 0
        self._hearing = Condition()

    @property
    def over(self) -> bool:
        """Whether its last event was told, or is about to be."""
        return self._over

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled before it was over."""
        return self._cancelled

    def cancel(self) -> None:
        """Stop the job; returns at once, and `Stopped` is told soon."""
        self._end(Stopped(), cancelled=True)

    def finish(self, event: Last) -> None:
        """Tell the last event; only the first of them is told."""
        self._end(event)

    def hear(self, message: dict[str, Any], read: Callable[[], Progress]) -> None:
        """Take a message of the worker, and tell it if it is a sign of life."""
        if "begun" in message:
            self.lost = bool(self.worker)
            self.worker = message["begun"]
            if self.lost:
                self.stirred.set()
        elif not self._over:
            self._teller.put(lambda: self._advance(read))
        with self._hearing:
            self._heard += 1
            self._hearing.notify_all()

    def await_messages(self, number: int) -> None:
        """Wait a little until so many messages have come in."""
        with self._hearing:
            self._hearing.wait_for(lambda: self._heard >= number, timeout=2)

    def mark_done(self) -> None:
        """Note that the worker has done with it."""
        self.done.set()
        self.stirred.set()

    def _advance(self, read: Callable[[], Progress]) -> None:
        if not self._cancelled:
            progress = read()
            if not self._cancelled:
                self._listener(Advanced(progress))

    def _end(self, event: Last, cancelled: bool = False) -> None:
        with self._lock:
            if self._over:
                return
            self._over, self._cancelled = True, cancelled
        self._teller.put(lambda: self._listener(event))
        self.stirred.set()
