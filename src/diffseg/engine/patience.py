"""Waiting for what may never answer."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns, if it does so in time.

    Raises
    ------
    TimeoutError
        It did not; it goes on in a thread that nobody waits for.
    """
    return aside(call).result(seconds)


def aside(call: Callable[[], Result]) -> Future[Result]:
    """Run `call` in a thread that does not keep the interpreter from ending."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            result: Any = call()
        except CancelledError:  # by Dask, as its connection was closed meanwhile
            future.set_exception(ConnectionAbortedError("broken off"))
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    Thread(target=run, name="diffseg-aside", daemon=True).start()
    return future
