"""Examples made ahead of the step by threads, and how long the step waited."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Made = TypeVar("Made")


def default_workers() -> int:
    """Threads that make examples where the recipe names no number."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


class Loader(Generic[Made]):
    """Makes what lies at positions of a run, in order, ahead of who takes it.

    Threads, not processes: what they do, torch does without Python's lock, and
    nothing has to be sent. What is made depends on its position alone.

    Parameters
    ----------
    make : callable
        From a position to what is made; called in several threads at once.
    workers : int
        Threads; 0 makes everything when it is taken.
    ahead : int
        How many are made before they are taken.
    """

    def __init__(
        self, make: Callable[[int], Made], workers: int, ahead: int = 8
    ) -> None:
        self.make, self.ahead = make, max(ahead, workers)
        self.waited = 0.0
        self._waiting: deque[tuple[int, Future[Made]]] = deque()
        self._pool = None
        if workers:
            # One thread's work is one sample's: no team of threads for each.
            self._pool = ThreadPoolExecutor(
                workers, "examples", initializer=torch.set_num_threads, initargs=(1,)
            )

    def take(self, positions: range, after: Sequence[int]) -> list[Made]:
        """What lies at `positions`; meanwhile what comes `after` is begun."""
        began = time.perf_counter()
        made = [self._take(position) for position in positions]
        self.waited += time.perf_counter() - began
        if self._pool is not None:
            have = {position for position, _ in self._waiting}
            for position in after[: self.ahead]:
                if position not in have:
                    future = self._pool.submit(self.make, position)
                    self._waiting.append((position, future))
        return made

    def _take(self, position: int) -> Made:
        while self._waiting and self._waiting[0][0] <= position:
            at, future = self._waiting.popleft()
            if at == position:
                return future.result()
            future.cancel()
        return self.make(position)

    def close(self) -> None:
        """End the threads; what was begun is dropped."""
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
