"""Who has what: locks that the system gives back when a process dies.

``guard`` is held for moments, by whoever makes, probes or removes something;
``windows/ID.lock`` as long as that window lives; ``sources/HASH.lock`` as long
as a window has that image open.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from diffseg.errors import UserError

_PATIENCE = 10.0
"""Seconds to wait for another process's moment with the guard."""


class InUse(UserError):
    """Another window that lives has this image open."""


def prepare(folder: Path) -> None:
    """Make the journal's folder, which only its owner may look into."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    for part in ("windows", "sources"):
        (folder / part).mkdir(mode=0o700, exist_ok=True)


@contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Be the only one who makes, probes or removes anything in the journal.

    Raises
    ------
    OSError
        The folder cannot be written to, or someone else holds the guard for good.
    """
    with _lock(folder / "guard").acquire(timeout=_PATIENCE, poll_interval=0.01):
        yield


def take(path: Path) -> BaseFileLock | None:
    """Take a lock at once, or return None because a living process holds it."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def source_lock(folder: Path, paths: tuple[str, ...], series: str | None) -> Path:
    """Lock of an image: of the same files and the same series.

    Its name is a hash, since a file's name may be a patient's.
    """
    names = [os.path.normcase(path) for path in paths]
    told = "\0".join([*names, "", series or ""]).encode("utf-8", "surrogateescape")
    return folder / "sources" / f"{hashlib.sha256(told).hexdigest()}.lock"


def drop(lock: BaseFileLock) -> None:
    """Give a lock back and remove its file. The guard is held."""
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release(force=True)


def remove_window(folder: Path, window: str) -> None:
    """Remove what a window left, if nothing is in it. The guard is held."""
    with suppress(OSError):
        (folder / "windows" / window).rmdir()
        (folder / "windows" / f"{window}.lock").unlink(missing_ok=True)


def remove_case(case: Path) -> None:
    """Remove a case's folder."""
    if case.exists():
        # Renamed first: half a case must not look like a damaged one.
        aside = case.with_name(f".{case.name}")
        case.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _lock(path: Path) -> BaseFileLock:
    # Taken in one thread and given back in another.
    return FileLock(str(path), thread_local=False)
