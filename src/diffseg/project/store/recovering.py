"""A project is repaired, as far as it can be, and what was done is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, insert, select, update

from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project.store import backups, migrating, schema
from diffseg.project.store.adopting import LOST, WHO, accept_edit, adopt
from diffseg.project.store.auditing import note
from diffseg.project.store.checking import (
    Health,
    check,
    files_in,
    is_half_written,
    missing_labels,
    owned_files,
)
from diffseg.project.store.database import make_engine
from diffseg.project.store.manifest import (
    DATABASE,
    FILE,
    Manifest,
    read_manifest,
    write_manifest,
)
from diffseg.project.store.presence import Presence, alone
from diffseg.project.store.project import PATIENCE, Project
from diffseg.project.store.replaying import replay
from diffseg.project.store.salvage import salvage
from diffseg.project.store.sources import file_digest
from diffseg.project.store.stray_runs import run_folders, without_row
from diffseg.project.store.tables import labels_in, take_in


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a repair did, and what it could not.

    Parameters
    ----------
    done : tuple of str
        A sentence each.
    health : Health
        Of the project as it is now.
    """

    done: tuple[str, ...]
    health: Health


def recover(folder: str | Path) -> Work[Recovery]:
    """Repair a project.

    A damaged database is restored from the newest sound copy, and what can still be
    read of it is added, the audit log included. Half written files go; files that no
    row tells of are taken in, or moved to ``lost+found``; masks that were edited
    outside are taken as they are; labels that masks use come back. What is missing,
    stays missing, and is told.

    Yields
    ------
    Progress

    Raises
    ------
    UserError
        It is no project, somebody has it open, or the disk is full.
    """
    place = Path(folder).absolute()
    if not any((place / name).exists() for name in (FILE, DATABASE, backups.FOLDER)):
        raise UserError(f"{place} is not a project; there is nothing to repair")
    with alone(place):
        yield Progress("repair the database")
        done = list(_manifest_repaired(place))
        manifest = read_manifest(place)
        if manifest.is_file:
            done += _database_repaired(place, manifest)
        engine = make_engine(place, manifest, PATIENCE)
        # Nobody else is here, so nobody has to be told that this one is.
        project = Project(place, manifest, engine, Presence(place))
        try:
            yield Progress("repair the files")
            done += _rows_repaired(project)
            done += _files_repaired(project)
            health = yield from check(project)
        finally:
            engine.dispose()
    return Recovery(tuple(done), health)


def _manifest_repaired(folder: Path) -> Iterator[str]:
    try:
        read_manifest(folder)
        return
    except UserError:
        id = None
        for path in (folder / DATABASE, *backups.backups_of(folder)):
            with suppress(sqlite3.Error), closing(_reader(path)) as db:
                ((id,),) = db.execute("SELECT id FROM project").fetchall()
                break
        if id is None:
            raise
    manifest = Manifest(schema_version=migrating.newest(), id=id)
    write_manifest(folder, manifest)
    yield f"{FILE} was written anew"


def _database_repaired(folder: Path, manifest: Manifest) -> Iterator[str]:
    path = folder / DATABASE
    if _is_sound(path):
        return
    hold = folder / LOST / f"database-{time.time_ns()}"
    hold.mkdir(parents=True)
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", hold / f"{DATABASE}{suffix}")
    copy = next((one for one in backups.backups_of(folder) if _is_sound(one)), None)
    if copy is not None:
        aside = path.with_name(f".{DATABASE}.part")
        shutil.copyfile(copy, aside)
        os.replace(aside, path)
        yield f"{DATABASE} was damaged: restored from {backups.FOLDER}/{copy.name}"
    else:
        yield f"{DATABASE} was damaged, and there is no copy: begun anew"
    engine = make_engine(folder, manifest, PATIENCE)
    try:
        project = Project(folder, manifest, engine, Presence(folder))
        with project.write() as db:
            migrating.migrate(db)
            _begun(db, manifest, project.now(db))
            since = db.execute(select(func.max(schema.audit.c.id))).scalar() or 0
            taken = salvage(hold / DATABASE, db)
            again = replay(db, since)
            note(db, project.now(db), WHO, "restore", details={"rows": taken})
    finally:
        engine.dispose()
    for name, count in taken.items():
        yield f"{count} rows of {name} were read out of the damaged database"
    if again:
        yield f"{again} entries of the audit log were applied again"
    yield f"the damaged database is in {hold.relative_to(folder)}"


def _begun(db: Connection, manifest: Manifest, now: float) -> None:
    if db.execute(select(schema.project.c.id)).first() is None:
        row = {"id": manifest.id, "created": now, "open_labels": True}
        db.execute(insert(schema.project), row)


def _rows_repaired(project: Project) -> Iterator[str]:
    with project.write() as db:
        missing = dict(missing_labels(db))
        names = {label.name for label in labels_in(db)}
        values = {label.value for label in labels_in(db)}
        said = db.execute(select(schema.image_labels.c.label).distinct()).scalars()
        wanted: list[tuple[str, int | None]] = [
            (name, None if value in values else value)
            for name, value in missing.items()
            if name not in names
        ]
        wanted += [(name, None) for name in said if name not in {*names, *missing}]
        take_in(db, wanted)
        newest = (
            select(func.coalesce(func.max(schema.corrections.c.version), 0))
            .where(schema.corrections.c.case_id == schema.cases.c.id)
            .scalar_subquery()
        )
        wrong = db.execute(
            update(schema.cases)
            .where(schema.cases.c.versions != newest)
            .values(versions=newest)
        ).rowcount
    if wanted:
        listed = ", ".join(name for name, _ in wanted)
        yield f"labels in use were missing from the table, and are back: {listed}"
    if wrong:
        yield f"the number of versions of {wrong} cases was counted anew"


def _files_repaired(project: Project) -> Iterator[str]:
    with project.read() as db:
        owned, stray = owned_files(db), without_row(run_folders(project), db)
    for path in stray:
        shutil.rmtree(path)
        where = path.relative_to(project.folder).as_posix()
        yield f"{where}: a training that had not begun, removed"
    known = {one.file for one in owned}
    orphans = []
    for file in files_in(project):
        if is_half_written(file):
            (project.folder / file).unlink()
            yield f"{file}: half written, removed"
        elif file not in known:
            orphans.append(file)
    yield from adopt(project, orphans)
    for one in owned:
        path = project.folder / one.file
        if one.table != "corrections" or not path.is_file():
            continue
        edited = file_digest(path) != one.sha256
        if edited and accept_edit(project, one.id, one.file):
            yield f"{one.file}: edited outside, taken as it is now"


def _is_sound(path: Path) -> bool:
    try:
        with closing(_reader(path)) as db:
            backups.require_sound(db)
            return bool(db.execute("SELECT id FROM project").fetchall())
    except (sqlite3.Error, ValueError):
        return False


def _reader(path: Path) -> sqlite3.Connection:
    """Connect to a file that is there; SQLite would make one that is not."""
    if not path.is_file():
        raise sqlite3.OperationalError(f"there is no {path.name}")
    return sqlite3.connect(path)
