"""The connection to a project's rows: SQLite as it must be set, or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from diffseg.errors import UserError
from diffseg.project.store.manifest import DATABASE, Manifest

WRITES = "diffseg_writes"
"""Option of a connection that is going to write."""
_DAMAGED = ("malformed", "not a database", "disk image")
_FULL = ("disk is full", "disk i/o error", "no space left")


class DamagedProject(UserError):
    """The project's database cannot be read as it is; `recover` may repair it."""


def make_engine(folder: Path, manifest: Manifest, patience: float) -> Engine:
    """Make the engine of a project's database; connects to nothing yet.

    Parameters
    ----------
    patience : float
        Seconds to wait for somebody else's lock.
    """
    if manifest.is_file:
        return _sqlite(folder / DATABASE, patience)
    return _postgresql(manifest, patience)


def _sqlite(path: Path, patience: float) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": patience, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, _: Any) -> None:
        # sqlite3 begins transactions late and only for some statements; ours are
        # begun below, at once.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        # What was told to be saved outlives a power cut, too.
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A reader that turns writer can be refused half way: say so beforehand.
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(manifest: Manifest, patience: float) -> Engine:
    wait = max(int(patience * 1000), 1)
    options = f"-c search_path={manifest.namespace} -c lock_timeout={wait}"
    try:
        return create_engine(
            manifest.url,
            connect_args={"options": options, "connect_timeout": 10},
            pool_pre_ping=True,
        )
    except ModuleNotFoundError as err:
        raise UserError(
            "PostgreSQL's driver is not installed; install napari-diffseg[team]"
        ) from err


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Tell a database's error from within in one line.

    Raises
    ------
    DamagedProject
        The database is not as it was written.
    UserError
        It is locked, out of reach, or its disk is full.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as err:
        raise _in_words(folder, err) from err


def _in_words(folder: Path, err: DBAPIError) -> UserError:
    said = " ".join(str(err.orig).split())
    low = said.lower()
    if getattr(err.orig, "sqlstate", None) == "55P03" or "locked" in low:
        return UserError(
            f"the database of {folder} is locked by another program; "
            "close it there or try again"
        )
    if any(sign in low for sign in _DAMAGED):
        return DamagedProject(
            f"the database of {folder} is damaged; repair it with: "
            f"diffseg project recover {folder}"
        )
    if any(sign in low for sign in _FULL):
        return UserError(
            f"nothing was saved into {folder}: {said}; make room on the disk"
        )
    return UserError(f"the database of {folder} cannot be used: {said[:120]}")
