"""A thread that does what it is told of within a delay, and chores between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SHORTEST = 0.05
"""Seconds that notes are gathered for, however long the work takes."""


class Watch:
    """Calls `work` for each noted key, and `chore` while nothing is due.

    Parameters
    ----------
    work : callable
        Takes a key; returns whether it succeeded. Otherwise it is called again.
    chore : callable
        Does a little, and returns whether there is more.
    delay : float
        Seconds from the first note of a key until its work is done, as far as
        the last work tells how long it takes.
    retry : float
        Seconds from work that failed to the next attempt.
    """

    def __init__(
        self,
        work: Callable[[str], bool],
        chore: Callable[[], bool],
        *,
        delay: float,
        retry: float,
    ) -> None:
        self._work, self._chore = work, chore
        self._delay, self._retry = delay, retry
        self._due: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._turns: dict[str, int] = {}
        self._sound: dict[str, bool] = {}
        self._running: str | None = None
        self._chores = self._stopping = False
        self._changed = threading.Condition()
        self._still = threading.Lock()
        self._thread: threading.Thread | None = None

    def note(self, key: str) -> None:
        """Ask for the work on a key; cheap, from any thread."""
        if key in self._due:
            return  # racy on purpose: a turn takes its key away before it begins
        with self._changed:
            wait = max(self._delay - self._took.get(key, 0.0), _SHORTEST)
            self._due.setdefault(key, time.monotonic() + wait)
            self._start()
            self._changed.notify_all()

    def settle(self, keys: list[str], timeout: float) -> bool:
        """Do the work on some keys now; wait for it.

        Returns
        -------
        bool
            Whether it was done, for all of them, within `timeout` seconds.
        """
        with self._changed:
            wanted = {}
            for key in keys:
                self._due[key] = time.monotonic()
                ahead = 2 if self._running == key else 1
                wanted[key] = self._turns.get(key, 0) + ahead
            self._start()
            self._changed.notify_all()
            finished = self._changed.wait_for(
                lambda: all(self._turns.get(key, 0) >= wanted[key] for key in keys),
                timeout,
            )
            return finished and all(self._sound[key] for key in keys)

    def forget(self, key: str) -> None:
        """Do no more work on a key. Called within `still`."""
        with self._changed:
            for known in (self._due, self._took, self._turns, self._sound):
                known.pop(key, None)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep the thread from doing anything meanwhile."""
        with self._still:
            yield

    def stop(self, timeout: float = 10.0) -> bool:
        """End the thread after what it is doing right now; whether it did end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(
                target=self._run, name="diffseg-journal", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                key = self._next()
                if self._stopping:
                    return
                self._running = key
            began = time.monotonic()
            with self._still:
                sound = self._work(key) if key is not None else True
                more = self._chore() if key is None else True
            with self._changed:
                self._running = None
                self._chores = more
                if key is not None:
                    self._took[key] = time.monotonic() - began
                    self._finish(key, sound)

    def _next(self) -> str | None:
        """Wait for a key that is due; None is a chore."""
        while not self._stopping:
            now = time.monotonic()
            key = min(self._due, key=self._due.__getitem__, default=None)
            if key is not None and self._due[key] <= now:
                del self._due[key]
                return key
            if self._chores:
                return None
            self._changed.wait(None if key is None else self._due[key] - now)
        return None

    def _finish(self, key: str, sound: bool) -> None:
        self._turns[key] = self._turns.get(key, 0) + 1
        self._sound[key] = sound
        if not sound:
            self._due.setdefault(key, time.monotonic() + self._retry)
        self._changed.notify_all()
