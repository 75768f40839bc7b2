"""One training at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from diffseg.errors import UserError

_LOCK, _OWNER = ".lock", ".owner"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder; the system gives it back when this process dies.

    Raises
    ------
    UserError
        Another process, which lives, trains into it.
    """
    lock = FileLock(str(folder / _LOCK), thread_local=False)
    owner = folder / _OWNER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = ""
        with suppress(OSError):
            who = f" (process {owner.read_text(encoding='utf-8').strip()})"
        raise UserError(
            f"another training writes into {folder}{who}: wait for it, or name a new "
            "folder"
        ) from None
    except OSError as err:
        raise UserError(
            f"folder {folder} cannot be locked ({err.strerror}): choose another"
        ) from None
    try:
        with suppress(OSError):
            owner.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            (folder / _LOCK).unlink(missing_ok=True)
