"""Dask's client, quiet: what it notes of a connection that ends is not for users.

Imported once an engine starts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import dask
from distributed import Client, Security

from diffseg.engine.patience import within

# Those that Dask gives levels of their own.
_LOGGERS = ("distributed", "distributed.client")


def connected(address: str, keys: Mapping[str, str], seconds: float) -> Any:
    """Return a client of a scheduler.

    Parameters
    ----------
    address : str
    keys : mapping
        To speak to it over TLS; empty for what the address and Dask's own settings
        say.
    seconds : float
        How long to try.

    Raises
    ------
    OSError, ValueError, TimeoutError
        Nobody answers there.
    """
    _hush()
    security_of: Any = Security  # untyped, as is the client
    security = security_of(require_encryption=True, **keys) if keys else None
    made = _Client.__new__(_Client)
    start: Any = made.__init__  # type: ignore[misc]
    try:
        # Its own limit does not cover a loop that never answers.
        within(
            2 * seconds,
            lambda: start(
                address, security=security, timeout=seconds, set_as_default=False
            ),
        )
    except BaseException:
        made.let_go()
        raise
    return made


class _Client(Client):
    """A client that is closed by whoever made it, and never by the collector.

    Dask's own closes itself when it is collected, which may happen in any thread and
    with any lock held, and waits there for a loop that may have ended: a process can
    stand still for ever, or print a traceback that nobody can act on.
    """

    def __del__(self) -> None:
        """Do nothing."""

    def let_go(self) -> None:
        """End what a start that failed has left running."""
        with suppress(Exception):
            within(5, self.close)
        with suppress(Exception):
            within(5, self._loop_runner.stop)


def _hush() -> None:
    """Keep what Dask logs from the terminal, unless its own settings want it."""
    if dask.config.get("logging", None) is None:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
