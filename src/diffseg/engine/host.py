"""A scheduler in this process and one worker in another, with keys of their own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import IO, Any

from diffseg.engine.exchange import Exchange
from diffseg.engine.nanny import THREAD_VARIABLES
from diffseg.engine.patience import within
from diffseg.errors import DiffsegError

_TLS = ("tls_ca_file", "tls_worker_key", "tls_worker_cert")


class LocalHost:
    """Starts, ends and starts again the worker process of one engine.

    Parameters
    ----------
    exchange : Exchange
        Its folder also takes the worker's scratch files and complaints.
    threads : int
        CPU threads that a model takes.
    """

    def __init__(self, exchange: Exchange, threads: int) -> None:
        import distributed

        from diffseg.engine.servers import SilentScheduler

        self._exchange = exchange
        self._threads = threads
        self._nanny: subprocess.Popen[bytes] | None = None
        dask: Any = distributed  # the names used here are untyped
        self.security = dask.Security.temporary()
        scheduler = {
            "host": "127.0.0.1",
            "protocol": "tls",
            "security": self.security,
            "local_directory": str(self._scratch),
            "dashboard": False,
            # A job that ended its worker would end the next one, too.
            "allowed_failures": 0,
        }
        self.cluster = dask.SpecCluster(
            scheduler={"cls": SilentScheduler, "options": scheduler},
            security=self.security,
            silence_logs=logging.CRITICAL,
        )

    @property
    def alive(self) -> bool:
        """Whether there is a process that looks after the worker."""
        return self._nanny is not None and self._nanny.poll() is None

    def ensure(self) -> None:
        """Start the process that looks after the worker, unless it runs."""
        if self.alive:
            return
        settings = {
            "address": self.cluster.scheduler_address,
            "exchange": str(self._exchange.path),
            "scratch": str(self._scratch),
            "threads": self._threads,
            "tls": {name: getattr(self.security, name) for name in _TLS},
        }
        threads = dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        with self._complaints.open("wb") as errors:
            self._nanny = subprocess.Popen(
                # -P: modules of the current folder are not those that are meant.
                [get_executable(), "-P", "-m", "diffseg.engine.nanny"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **threads},
                **_apart(),
            )
        # The keys go through the pipe; its end tells that this process has ended.
        pipe = self._pipe
        pipe.write(json.dumps(settings).encode() + b"\n")
        pipe.flush()

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
            return next((line for line in reversed(said) if line.strip()), "")
        return ""

    def close(self) -> None:
        """End all processes."""
        with suppress(Exception):  # nobody is left to whom it would matter
            within(20, self.cluster.close)
        nanny, self._nanny = self._nanny, None
        if nanny is None:
            return
        with suppress(OSError):
            if nanny.stdin is not None:
                nanny.stdin.close()
        try:
            nanny.wait(timeout=5)
        except subprocess.TimeoutExpired:
            nanny.kill()
            nanny.wait()

    @property
    def _scratch(self) -> Path:
        return self._exchange.path / "scratch"

    @property
    def _complaints(self) -> Path:
        return self._exchange.path / "worker.log"

    @property
    def _pipe(self) -> IO[bytes]:
        if self._nanny is None or self._nanny.stdin is None:
            raise DiffsegError("the worker process has no standard input")
        return self._nanny.stdin


def _apart() -> dict[str, Any]:
    """Options that keep Ctrl-C in a terminal from ending the worker first."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}
