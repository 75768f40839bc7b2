"""A project that is open: its folder, its database, and that others can tell."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from sqlalchemy import Connection, Engine, func, insert, select, text

from diffseg.domain import LabelTable
from diffseg.errors import UserError
from diffseg.project.store import backups, migrating, schema
from diffseg.project.store.auditing import note
from diffseg.project.store.database import WRITES, DamagedProject, make_engine, told
from diffseg.project.store.manifest import (
    DATABASE,
    FILE,
    Manifest,
    checked_url,
    read_manifest,
    write_manifest,
)
from diffseg.project.store.presence import Presence

PATIENCE = 5.0
"""Seconds to wait for another program's transaction."""
Clock = Callable[[], float]


class Project:
    """An open project. Safe to use from several threads; close it at the end.

    Parameters
    ----------
    folder : Path
        Absolute.
    manifest : Manifest
    engine : Engine
    presence : Presence
        Says to other processes that this one has the project open.
    clock : callable, optional
        Seconds since the epoch; the machine's, or the database server's, without.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        engine: Engine,
        presence: Presence,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.engine = engine
        self._presence = presence
        self._clock = clock
        self._wrote = False

    @property
    def masks(self) -> Path:
        """Folder of proposals and corrections."""
        return self.folder / "masks"

    @property
    def journal_folder(self) -> Path:
        """Where windows of this machine keep strokes until they are saved.

        Locks tell a living window from a dead one only within a machine; each has
        a folder of its own, which does not tell the machine's name.
        """
        host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]
        return self.folder / "journal" / host

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees the rows as they are now, until the end.

        Raises
        ------
        UserError
            The database is locked, damaged or out of reach.
        """
        with told(self.folder), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection; what is done through it is kept whole, or not at all.

        Once it returns, the rows are on the disk.

        Raises
        ------
        UserError
            The database is locked, damaged, full or out of reach.
        """
        with told(self.folder):
            with self.engine.connect() as fresh:
                connection = fresh.execution_options(**{WRITES: True})
                with connection.begin():
                    yield connection
            self._wrote = True

    def is_shared(self) -> bool:
        """Whether somebody else on this machine has it open, too."""
        return self._presence.others() > 0

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch, by the one clock that all annotators share."""
        if self._clock is not None:
            return self._clock()
        if connection.dialect.name == "postgresql":
            seconds = func.extract("epoch", func.clock_timestamp())
            return float(connection.execute(select(seconds)).scalar_one())
        return time.time()

    def close(self) -> None:
        """Give everything back. A copy of the database is made now and then."""
        try:
            if self._wrote and self.manifest.is_file:
                backups.make_backup_if_due(self.folder)
        finally:
            self.engine.dispose()
            self._presence.leave()

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create_project(
    folder: str | Path,
    *,
    labels: LabelTable | None = None,
    database: str | None = None,
    annotator: str,
    clock: Clock | None = None,
    patience: float = PATIENCE,
) -> Project:
    """Make a project, and open it.

    Parameters
    ----------
    folder : path
        New or empty.
    labels : LabelTable, optional
        The structures; without it they come in as they are named.
    database : str, optional
        URL of a PostgreSQL database; without it a file in the folder.
    annotator : str
        Who makes it.
    clock, patience
        As `Project` and `open_project` have them.

    Raises
    ------
    UserError
        The folder is not empty or cannot be written to, or the database is out of
        reach.
    """
    place = Path(folder).absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{place} is not an empty folder; choose a new one")
    manifest = Manifest(
        schema_version=migrating.newest(),
        id=uuid4().hex,
        database=DATABASE if database is None else checked_url(database),
    )
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"{place} cannot be made: {err.strerror or err}") from err
    project = _entered(place, manifest, clock, patience)
    try:
        with project.write() as db:
            if not manifest.is_file:
                db.execute(text(f'CREATE SCHEMA "{manifest.namespace}"'))
            migrating.migrate(db)
            now = project.now(db)
            facts = {"id": manifest.id, "created": now, "open_labels": labels is None}
            db.execute(insert(schema.project), facts)
            if labels is not None:
                db.execute(insert(schema.labels), label_rows(labels))
            note(db, now, annotator, "create")
        # Last: what has no manifest is no project.
        write_manifest(place, manifest)
    except BaseException:
        project.engine.dispose()
        project._presence.leave()
        raise
    return project


def label_rows(table: LabelTable) -> list[dict[str, object]]:
    """Rows of a label table, in its order."""
    return [
        {"position": position, **label.model_dump()}
        for position, label in enumerate(table.each())
    ]


def open_project(
    folder: str | Path, *, clock: Clock | None = None, patience: float = PATIENCE
) -> Project:
    """Open a project; an older one is brought to today's schema first.

    Parameters
    ----------
    folder : path
    clock : callable, optional
        Seconds since the epoch; for tests.
    patience : float
        Seconds to wait for another program's transaction.

    Raises
    ------
    UserError
        It is no project, of a newer program, locked, damaged or out of reach.
    """
    place = Path(folder).absolute()
    manifest = read_manifest(place)
    if manifest.is_file and not (place / DATABASE).is_file():
        raise DamagedProject(
            f"{place} has no {DATABASE}: it was copied by half; copy it again, or "
            f"repair it with: diffseg project recover {place}"
        )
    project = _entered(place, manifest, clock, patience)
    try:
        _brought_up(project)
    except BaseException:
        project.engine.dispose()
        project._presence.leave()
        raise
    return project


def _entered(
    folder: Path, manifest: Manifest, clock: Clock | None, patience: float
) -> Project:
    presence = Presence(folder)
    engine = make_engine(folder, manifest, patience)
    presence.enter()
    return Project(folder, manifest, engine, presence, clock)


def _brought_up(project: Project) -> None:
    folder, manifest = project.folder, project.manifest
    with project.read() as db:
        found = migrating.schema_of(db)
    if found is None:
        raise DamagedProject(
            f"the database of {folder} holds no project; repair it with: "
            f"diffseg project recover {folder}"
        )
    if migrating.is_behind(folder, found):
        if manifest.is_file:
            backups.make_backup(folder, f"schema-{found}")
        with project.write() as db:
            # Somebody else may have been faster.
            if migrating.is_behind(folder, migrating.schema_of(db)):
                migrating.migrate(db)
                note(db, project.now(db), "diffseg", "migrate", details={"from": found})
    with project.read() as db:
        id = db.execute(select(schema.project.c.id)).scalar_one_or_none()
    if id != manifest.id:
        raise UserError(f"{folder / FILE} and the database are of different projects")
    if manifest.schema_version != migrating.newest():
        newer = manifest.model_copy(update={"schema_version": migrating.newest()})
        write_manifest(folder, newer)
        project.manifest = newer
