"""Long work in a process of its own, watched from here. Loads without torch.

The window's way: torch and the device's memory belong to that process alone, and are
gone with it. It ends with this one, too, whatever ends this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.spawn import get_executable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from diffseg.engine.nanny import THREAD_VARIABLES
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress, Work
from diffseg_training.apart_worker import progress_of

Result = TypeVar("Result")

HEARTBEAT = 0.25
"""Seconds between signs of life, so that closing the generator is never late."""
GRACE = 10.0
"""Seconds that cancelled work has to note that it was."""


def iter_apart(
    module: str,
    job: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Result],
    *,
    lost: str,
    threads: int | None = None,
) -> Work[Result]:
    """Run ``python -m module``, which answers as `apart_worker.serve` does.

    Run it in a thread: it blocks for at most `HEARTBEAT` between two signs of life.
    Closing the generator cancels the work, and returns once its process has ended.

    Parameters
    ----------
    job : mapping
        Plain values: the first line that the process reads.
    read : callable
        Makes the result of the plain values that the process tells at last.
    lost : str
        What is said where the process ended before its work did.
    threads : int, optional
        CPU threads of that process; a window leaves one core for itself.

    Raises
    ------
    UserError, DiffsegError
        As the work failed; or the process ended before its work did.
    """
    with _started(module, job, threads) as process:
        lines: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=_read, args=(process, lines), daemon=True).start()
        last = Progress("start")
        while True:
            try:
                line = lines.get(timeout=HEARTBEAT)
            except Empty:
                yield last
                continue
            if line is None:
                raise DiffsegError(lost)
            told: dict[str, Any] = json.loads(line)
            if "done" in told:
                return read(told["done"])
            if "failed" in told:
                kind = UserError if told["status"] == 2 else DiffsegError
                raise kind(told["failed"])
            last = progress_of(told)
            yield last


@contextmanager
def _started(
    module: str, job: Mapping[str, Any], threads: int | None
) -> Iterator[subprocess.Popen[str]]:
    """Start the process; at the end cancel it, or end it, and wait for it."""
    process = subprocess.Popen(
        # -P: modules of the current folder are not those that are meant.
        [get_executable(), "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        if threads
        else None,
        text=True,
        encoding="utf-8",
        **_apart(),
    )
    assert process.stdin is not None
    try:
        # This pipe stays open; its end cancels the work.
        with suppress(OSError):
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        yield process
    finally:
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen[str], lines: SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    with suppress(OSError, ValueError), process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _apart() -> dict[str, Any]:
    """Options that keep Ctrl-C in a terminal from ending the process unasked."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}
