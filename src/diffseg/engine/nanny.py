"""A process of its own that schedules, starts the worker, and starts it again.

It stands between the window and the worker so that no script of the user's is run
again in the worker (as starting a process from Python would), so that both end with
the window, however that ends, and so that a window that closes at once has nothing
of them to clear up.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from multiprocessing.util import get_temp_dir
from threading import Lock, Thread
from typing import Any

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
_CLIENT_KEYS = ("tls_ca_file", "tls_client_key", "tls_client_cert")
# Loaded once; each worker is then a fork of the process that holds them.
_LOADED_AHEAD = ["distributed", "torch", "diffseg.engine.worker"]

_LONGEST = 70  # of a folder: 107 bytes are allowed for a socket's path


class Lifeline:
    """Standard input: when it ends, so does everything here.

    Parameters
    ----------
    exchange : str
        The folder to remove then.
    """

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        Thread(target=self._watch, daemon=True).start()

    def attach(self, over: asyncio.Event) -> None:
        """Leave the end to the running loop, from now on; `over` is set then."""
        with self._lock:
            self._loop, self._over = asyncio.get_running_loop(), over

    def cut(self, status: int = 0) -> None:
        """End the worker, remove the folder, and end this process."""
        _end_children()
        shutil.rmtree(self._exchange, ignore_errors=True)
        if "multiprocessing.forkserver" in sys.modules:
            shutil.rmtree(get_temp_dir(), ignore_errors=True)  # its socket's
        # The thread that waits for standard input cannot be joined.
        os._exit(status)

    def _watch(self) -> None:
        with suppress(OSError, ValueError):
            sys.stdin.read()
        with self._lock:
            if self._loop is None or self._over is None:
                self.cut()  # still importing: there is no worker
            else:
                self._loop.call_soon_threadsafe(self._over.set)


def main() -> None:
    """Run a worker until standard input, whose first line says how, ends."""
    # What models print goes nowhere; this pipe says once how to get through.
    contact = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    settings = json.loads(sys.stdin.readline() or "null")
    if settings is None:
        return
    lifeline = Lifeline(settings["exchange"])
    try:
        import distributed  # noqa: F401 - slow; the lifeline may end it

        asyncio.run(_serve(settings, contact, lifeline))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        lifeline.cut(1)


async def _serve(settings: dict[str, Any], contact: int, lifeline: Lifeline) -> None:
    over = asyncio.Event()
    lifeline.attach(over)
    scheduler, security = await _scheduler(settings)
    keys = {name: getattr(security, name) for name in _CLIENT_KEYS}
    with os.fdopen(contact, "w") as pipe:
        pipe.write(json.dumps([scheduler.address, keys]) + "\n")
    starting = asyncio.ensure_future(_start(_nanny(settings, scheduler, security)))

    def started(task: asyncio.Future[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            over.set()

    starting.add_done_callback(started)
    parent = os.getppid()
    while not over.is_set() and os.getppid() == parent:
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), 1.0)
    if starting.done() and (error := starting.exception()) is not None:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    lifeline.cut()  # within the loop, so that no worker is started meanwhile


async def _scheduler(settings: dict[str, Any]) -> tuple[Any, Any]:
    """Start a scheduler; returns it and its keys."""
    import distributed

    from diffseg.engine.servers import SilentScheduler

    dask_of: Any = distributed  # the names used here are untyped
    security = dask_of.Security.temporary()
    scheduler: Any = SilentScheduler(
        host="127.0.0.1",
        protocol="tls",
        security=security,
        local_directory=settings["scratch"],
        dashboard=False,
        # A job that ended its worker would end the next one, too.
        allowed_failures=0,
    )
    await scheduler
    return scheduler, security


def _nanny(settings: dict[str, Any], scheduler: Any, security: Any) -> Any:
    """Return what starts the worker, and starts it again when it ends."""
    import dask
    import distributed
    from distributed.utils import get_mp_context

    from diffseg.engine.servers import SilentWorker

    # Dask would set these to 1 in the worker.
    threads = dict.fromkeys(THREAD_VARIABLES, settings["threads"])
    dask.config.set({"distributed.nanny.pre-spawn-environ": threads})
    if sys.platform == "linux" and _put_socket_into(settings["exchange"]):
        # The next worker need not import torch again. Elsewhere a process cannot
        # fork, or not once it has met the system's own libraries.
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
        context: Any = get_mp_context()  # type: ignore[no-untyped-call]
        context.set_forkserver_preload(_LOADED_AHEAD)
    dask_of: Any = distributed
    return dask_of.Nanny(
        scheduler.address,
        worker_class=SilentWorker,
        host="127.0.0.1",
        nthreads=1,
        security=security,
        memory_limit=0,  # never paused, never restarted for its memory
        local_directory=settings["scratch"],
        dashboard=False,
        silence_logs=50,
    )


def _put_socket_into(folder: str) -> bool:
    """Have the socket to the process that forks lie in a folder that is swept.

    Returns
    -------
    bool
        Whether the folder's path is short enough for one: without, each worker
        is started afresh, which takes longer.
    """
    if len(os.fsencode(folder)) > _LONGEST:
        return False
    before, tempfile.tempdir = tempfile.tempdir, folder
    get_temp_dir()  # multiprocessing keeps the first
    tempfile.tempdir = before
    return True


async def _start(nanny: Any) -> None:
    await nanny


def _end_children() -> None:
    """End the worker at once: what it was doing is not wanted any more."""
    import psutil  # type: ignore[import-untyped]

    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(children, timeout=2)


if __name__ == "__main__":
    main()
