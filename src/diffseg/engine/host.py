"""A process of our own that holds a scheduler and one worker, with keys of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from multiprocessing.spawn import get_executable
from pathlib import Path
from threading import Lock
from typing import Any

from diffseg.engine.exchange import Exchange
from diffseg.engine.nanny import THREAD_VARIABLES
from diffseg.errors import DiffsegError

END_SECONDS = 5.0


class LocalHost:
    """Starts, ends and starts again the scheduler and the worker of one engine.

    Nothing of them runs in this process: what they say stays in a file, and however
    early they are ended, nothing is left here to be cleared up.

    Parameters
    ----------
    exchange : Exchange
        Its folder also takes the worker's scratch files and complaints.
    threads : int
        CPU threads that a model takes.
    """

    def __init__(self, exchange: Exchange, threads: int) -> None:
        self._exchange = exchange
        self._threads = threads
        self._lock = Lock()
        self._closed = False
        self._nanny: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether there is a process that looks after the worker."""
        return self._nanny is not None and self._nanny.poll() is None

    def start(self) -> None:
        """Start the process that looks after the worker; returns at once."""
        settings = {
            "exchange": str(self._exchange.path),
            "scratch": str(self._exchange.path / "scratch"),
            "threads": self._threads,
        }
        threads = dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        with self._lock, self._complaints.open("wb") as errors:
            if self._closed:
                raise DiffsegError("the engine was closed")
            _end(self._nanny)
            self._nanny = subprocess.Popen(
                # -P: modules of the current folder are not those that are meant.
                [get_executable(), "-P", "-m", "diffseg.engine.nanny"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **threads},
                **_apart(),
            )
        # This pipe stays open; its end tells that this process has ended.
        with suppress(OSError):  # of a process that has ended; reading finds out
            if self._nanny.stdin is not None:
                self._nanny.stdin.write(json.dumps(settings).encode() + b"\n")
                self._nanny.stdin.flush()

    def contact(self) -> tuple[str, dict[str, str]]:
        """Wait for the scheduler; returns its address and the keys to speak to it.

        Raises
        ------
        EOFError
            The process ended before it had one.
        """
        nanny = self._nanny
        # The keys come through a pipe that nobody else can read.
        with suppress(OSError, ValueError):
            line = nanny.stdout.readline() if nanny and nanny.stdout else b""
            if line.endswith(b"\n"):
                address, keys = json.loads(line)
                return address, keys
        raise EOFError("the process that runs models ended while it was starting")

    def end_worker(self, pid: int) -> None:
        """End a worker process at once; another is started by itself."""
        import psutil  # type: ignore[import-untyped]

        with suppress(psutil.Error):
            process = psutil.Process(pid)
            process.kill()

    def why_not(self) -> str:
        """Last words of a worker that did not start."""
        with suppress(OSError):
            said = self._complaints.read_text(errors="replace").split("\n")
            told = (line for line in reversed(said) if line.strip())
            # Neither Dask's news of its own doing nor a warning says what went wrong.
            words = " - INFO - ", "Warning: "
            return next((s for s in told if not any(one in s for one in words)), "")
        return ""

    def close(self) -> None:
        """End all processes; whoever waits for `contact` is let go."""
        with self._lock:
            self._closed = True
            _end(self._nanny)

    @property
    def _complaints(self) -> Path:
        return self._exchange.path / "worker.log"


def _end(nanny: subprocess.Popen[bytes] | None) -> None:
    """Have a nanny end its worker and itself, and wait for it."""
    if nanny is None:
        return
    with suppress(OSError):
        if nanny.stdin is not None:
            nanny.stdin.close()
    try:
        nanny.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        nanny.kill()  # its worker ends with it
        nanny.wait()
    if nanny.stdout is not None:
        nanny.stdout.close()


def _apart() -> dict[str, Any]:
    """Options that keep Ctrl-C in a terminal from ending the worker first."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}
