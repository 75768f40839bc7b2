"""A process of its own that starts the worker, and starts it again when it ends.

It stands between the window and the worker so that no script of the user's is run
again in the worker (as starting a process from Python would), and so that both end
with the window, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import suppress
from threading import Thread
from typing import Any

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def main() -> None:
    """Run a worker until standard input, whose first line says how, ends."""
    settings = json.loads(sys.stdin.readline())
    try:
        asyncio.run(_serve(settings))
    finally:
        _end_children()
        shutil.rmtree(settings["exchange"], ignore_errors=True)
    os._exit(0)  # the thread that waits for standard input cannot be joined


async def _serve(settings: dict[str, Any]) -> None:
    import dask
    import distributed

    from diffseg.engine.servers import SilentWorker

    dask_of: Any = distributed  # the names used here are untyped

    # Dask would set these to 1 in the worker.
    threads = dict.fromkeys(THREAD_VARIABLES, settings["threads"])
    dask.config.set({"distributed.nanny.pre-spawn-environ": threads})
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    Thread(target=_wait_for_end, args=(loop, over), daemon=True).start()
    nanny = dask_of.Nanny(
        settings["address"],
        worker_class=SilentWorker,
        host="127.0.0.1",
        nthreads=1,
        security=dask_of.Security(require_encryption=True, **settings["tls"]),
        memory_limit=0,  # never paused, never restarted for its memory
        local_directory=settings["scratch"],
        dashboard=False,
        silence_logs=50,
    )
    starting = asyncio.ensure_future(_start(nanny))

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


async def _start(nanny: Any) -> None:
    await nanny


def _wait_for_end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    with suppress(OSError, ValueError):
        sys.stdin.read()
    loop.call_soon_threadsafe(over.set)


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
