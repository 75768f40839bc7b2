"""Dask's client, quiet: what it notes of a connection that ends is not for users.

Imported once an engine starts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import dask
import distributed

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
    dask_of: Any = distributed  # the names used here are untyped
    security = dask_of.Security(require_encryption=True, **keys) if keys else None
    return dask_of.Client(
        address, security=security, timeout=seconds, set_as_default=False
    )


def _hush() -> None:
    """Keep what Dask logs from the terminal, unless its own settings want it."""
    if dask.config.get("logging", None) is None:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
