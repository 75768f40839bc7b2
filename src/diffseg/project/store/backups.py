"""Copies of a project's database file, made while it is in use."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from diffseg.project.store.manifest import DATABASE
from diffseg.volume import atomic_write

FOLDER = "backups"
MOST = 5
"""Copies that are kept; those made before a migration are kept for good."""
DUE = 600.0
"""Seconds after which the newest copy is too old."""
_NAME = re.compile(r"\d{8}\.db")


def backups_of(folder: Path) -> tuple[Path, ...]:
    """Copies of a project's database, the newest first."""
    place = folder / FOLDER
    return tuple(sorted(_numbered(place), reverse=True))


def make_backup_if_due(folder: Path) -> Path | None:
    """Copy the database unless that was done lately; None if it was, or cannot be.

    A clock that went backwards makes it due.
    """
    newest = next(iter(backups_of(folder)), None)
    if newest is not None and 0 <= time.time() - newest.stat().st_mtime < DUE:
        return None
    with suppress(sqlite3.Error):
        return make_backup(folder)
    return None


def make_backup(folder: Path, name: str | None = None) -> Path:
    """Copy the database as it is, whole and checked.

    Parameters
    ----------
    name : str, optional
        Of a copy that is kept for good; otherwise it is numbered, and the oldest
        gives way.

    Raises
    ------
    sqlite3.Error
        The database is damaged: no copy takes a sound one's place.
    UserError
        The copy cannot be written.
    """
    place = folder / FOLDER
    numbered = _numbered(place)
    number = int(numbered[-1].stem) + 1 if numbered else 1
    path = place / f"{name or f'{number:08}'}.db"

    def copy(aside: Path) -> None:
        with (
            closing(sqlite3.connect(folder / DATABASE)) as source,
            closing(sqlite3.connect(aside)) as target,
        ):
            source.backup(target)
            require_sound(target)
            # A copy is one file: it must not need a log beside it.
            target.execute("PRAGMA journal_mode = DELETE")

    atomic_write(path, copy)
    if name is None:
        for old in numbered[: max(len(numbered) + 1 - MOST, 0)]:
            with suppress(OSError):
                os.unlink(old)
    return path


def require_sound(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` unless every page of a database is sound."""
    ((said,), *_) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if said != "ok":
        raise sqlite3.DatabaseError(said)


def _numbered(place: Path) -> list[Path]:
    return sorted(path for path in place.glob("*.db") if _NAME.fullmatch(path.name))
