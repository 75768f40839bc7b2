"""Who has a project open: a lock that the system gives back when a process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import BaseFileLock

from diffseg.errors import UserError
from diffseg.project.locks import drop, guard, take

PLACE = ".open"


class Presence:
    """One process's sign that it has a project open.

    Parameters
    ----------
    folder : Path
        Of the project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / PLACE
        self._lock: BaseFileLock | None = None

    def enter(self) -> None:
        """Put the sign up; waits while the project is being repaired.

        Raises
        ------
        UserError
            The folder cannot be written to, or is under repair for good.
        """
        path = self._folder / f"{uuid4().hex}.lock"
        with _told(self._folder):
            self._folder.mkdir(exist_ok=True)
            with guard(self._folder):
                _sweep(self._folder)
                self._lock = take(path)

    def leave(self) -> None:
        """Take the sign down; no harm where there is none."""
        lock, self._lock = self._lock, None
        if lock is not None:
            # Not under the guard: who probes it takes the same lock first.
            with suppress(OSError):
                drop(lock)

    def others(self) -> int:
        """How many others have the project open; 0 where this one has not."""
        if self._lock is None:
            return 0
        with _told(self._folder), guard(self._folder):
            return _sweep(self._folder) - 1


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who has a project open; others wait, or are told.

    Raises
    ------
    UserError
        Somebody has it open.
    """
    place = folder / PLACE
    with _told(place):
        place.mkdir(exist_ok=True)
        held = guard(place)
        held.__enter__()
    try:
        if _sweep(place):
            raise UserError(f"{folder} is open elsewhere; close it there first")
        yield
    finally:
        held.__exit__(None, None, None)


def _sweep(place: Path) -> int:
    """Remove the signs of the dead; how many live. The guard is held."""
    living = 0
    for path in place.glob("*.lock"):
        lock = take(path)
        if lock is None:
            living += 1
        else:
            drop(lock)
    return living


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise UserError(
            f"{place.parent} cannot be opened: {err.strerror or err}; see that the "
            "folder is writable, and not under repair elsewhere"
        ) from err
