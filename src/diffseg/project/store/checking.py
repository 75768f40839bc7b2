"""Whether a project is whole: its rows, its files, and that each knows the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, func, select

from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project.journal import Journal
from diffseg.project.store import schema
from diffseg.project.store.cases import case_of, source_state
from diffseg.project.store.database import DamagedProject
from diffseg.project.store.project import Project, open_project
from diffseg.project.store.sources import file_digest
from diffseg.project.store.stray_runs import run_folders, without_row
from diffseg.project.store.tables import labels_in

_ASIDE = re.compile(r"\.[0-9a-f]{8}\..+|.+\.part")


class Trouble(Enum):
    """What can be wrong; the second half is told, and no damage."""

    DATABASE = "damaged database"
    ROWS = "rows that contradict one another"
    MISSING = "missing file"
    CHANGED = "file changed outside"
    ORPHAN = "file without a row"
    HALF_WRITTEN = "half written file"
    LABEL = "label that is not in the table"
    SOURCE = "image that is gone or has changed"
    STROKES = "strokes of a session that died"

    @property
    def is_damage(self) -> bool:
        """Whether something that was saved is not as it was saved."""
        cls = Trouble
        return self in (cls.DATABASE, cls.ROWS, cls.MISSING, cls.CHANGED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Parameters
    ----------
    where : str
        A path within the project, or a case's name.
    what : str
        In a sentence, with what to do.
    """

    trouble: Trouble
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found.

    Parameters
    ----------
    findings : tuple of Finding
        The gravest first.
    cases, files : int
        How many were looked at.
    """

    findings: tuple[Finding, ...]
    cases: int
    files: int

    @property
    def sound(self) -> bool:
        """Whether all that was saved is as it was saved."""
        return not any(finding.trouble.is_damage for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Owned:
    """A file that a row tells of."""

    file: str
    sha256: str
    table: str
    id: str
    case_id: str


def check_folder(folder: Path) -> Work[Health]:
    """Check a project that may not even open; see `check`."""
    try:
        project = open_project(folder)
    except DamagedProject as err:
        return Health((Finding(Trouble.DATABASE, str(folder), str(err)),), 0, 0)
    with project:
        return (yield from check(project))


def check(project: Project, *, sources: bool = True) -> Work[Health]:
    """Compare a project's rows with its files, and both with themselves.

    Others may go on working: nothing of theirs is told to be wrong.

    Parameters
    ----------
    sources : bool
        Compute the checksums of the cases' images, too.

    Yields
    ------
    Progress
        One a file or image.

    Raises
    ------
    UserError
        The database is locked or out of reach.
    """
    # The files first: whoever writes meanwhile leaves a file before its row.
    there, runs = tuple(files_in(project)), run_folders(project)
    try:
        with project.read() as db:
            findings = [*_of_database(db), *_of_rows(db)]
            owned, stray = owned_files(db), without_row(runs, db)
            cases = db.execute(select(schema.cases.c.id)).scalars().all()
    except DamagedProject as err:
        return Health((Finding(Trouble.DATABASE, "project.db", str(err)),), 0, 0)
    total = len(owned) + (len(cases) if sources else 0)
    for index, one in enumerate(owned):
        yield Progress("check masks", index, total)
        findings += _of_file(project, one)
    findings += _of_strangers(project, there, {one.file for one in owned})
    findings += _of_runs(project, stray)
    for index, case_id in enumerate(cases if sources else ()):
        yield Progress("check images", len(owned) + index, total)
        findings += _of_source(project, case_id)
    findings += _of_journal(project)
    order = list(Trouble)
    findings.sort(key=lambda finding: order.index(finding.trouble))
    return Health(tuple(findings), len(cases), len(owned))


def files_in(project: Project) -> Iterator[str]:
    """Paths within the project of all that lies among the masks."""
    if project.masks.is_dir():
        for path in sorted(project.masks.rglob("*")):
            if path.is_file():
                yield path.relative_to(project.folder).as_posix()


def is_half_written(file: str) -> bool:
    """Whether a file is what a writer that died had not renamed yet."""
    return _ASIDE.fullmatch(Path(file).name) is not None


def owned_files(db: Connection) -> tuple[Owned, ...]:
    """Every file that a row tells of."""
    found: list[Owned] = []
    table = schema.corrections.c
    rows = select(
        table.id, table.case_id, table.file, table.sha256,
        table.touched_file, table.touched_sha256,
    )  # fmt: skip
    for id, case_id, file, sha256, touched, touched_sha256 in db.execute(rows):
        found.append(Owned(file, sha256, "corrections", id, case_id))
        if touched is not None:
            found.append(Owned(touched, touched_sha256, "corrections", id, case_id))
    made = schema.proposals.c
    for id, case_id, files in db.execute(select(made.id, made.case_id, made.files)):
        found += [
            Owned(one["file"], one["sha256"], "proposals", id, case_id)
            for one in files.values()
        ]
    return tuple(found)


def missing_labels(db: Connection) -> dict[str, int]:
    """Labels that corrections use and the table does not have, with their values."""
    known = {(label.name, label.value) for label in labels_in(db)}
    missing = {}
    for classes in db.execute(select(schema.corrections.c.classes)).scalars():
        for one in classes:
            if one["voxels"] and (one["name"], one["value"]) not in known:
                missing[str(one["name"])] = int(one["value"])
    return missing


def _of_database(db: Connection) -> Iterator[Finding]:
    if db.dialect.name != "sqlite":
        return  # a server keeps its own pages, and never lets a key point nowhere
    for said in db.exec_driver_sql("PRAGMA integrity_check(10)").scalars():
        if said != "ok":
            yield Finding(Trouble.DATABASE, "project.db", f"{said}; see recover")
    for table, row, parent, _ in db.exec_driver_sql("PRAGMA foreign_key_check"):
        what = f"row {row} of {table} points to a row of {parent} that is not there"
        # What lost its label is repaired by taking the label in again.
        lost = table == "image_labels" and parent == "labels"
        yield Finding(Trouble.LABEL if lost else Trouble.ROWS, "project.db", what)


def _of_rows(db: Connection) -> Iterator[Finding]:
    newest = select(
        schema.corrections.c.case_id, func.max(schema.corrections.c.version).label("n")
    ).group_by(schema.corrections.c.case_id)
    found = newest.subquery()
    rows = (
        select(schema.cases.c.name)
        .outerjoin(found, found.c.case_id == schema.cases.c.id)
        .where(schema.cases.c.versions != func.coalesce(found.c.n, 0))
    )
    for name in db.execute(rows).scalars():
        yield Finding(Trouble.ROWS, name, "its number of versions is not that of rows")
    for name, value in missing_labels(db).items():
        what = f"masks hold {name!r} (value {value}), which the label table lacks"
        yield Finding(Trouble.LABEL, name, what)


def _of_file(project: Project, one: Owned) -> Iterator[Finding]:
    path = project.folder / one.file
    if not path.is_file():
        what = "it is not there: copy the project again, or put it back from a copy"
        yield Finding(Trouble.MISSING, one.file, what)
        return
    try:
        digest = file_digest(path)
    except UserError as err:
        yield Finding(Trouble.CHANGED, one.file, str(err))
        return
    if digest != one.sha256:
        what = "it is not as it was saved: put it back, or take it as it is by recover"
        if one.table == "proposals":
            what = "it is not as it was proposed: put it back from a copy"
        yield Finding(Trouble.CHANGED, one.file, what)


def _of_strangers(
    project: Project, there: tuple[str, ...], owned: set[str]
) -> Iterator[Finding]:
    strangers = [file for file in there if file not in owned]
    busy = bool(strangers) and project.is_shared()
    hint = "; somebody may be writing it right now" if busy else ""
    for file in strangers:
        if is_half_written(file):
            what = f"a writer died before it was whole: recover removes it{hint}"
            yield Finding(Trouble.HALF_WRITTEN, file, what)
        else:
            what = f"no row tells of it: recover takes it in or sets it aside{hint}"
            yield Finding(Trouble.ORPHAN, file, what)


def _of_runs(project: Project, stray: tuple[Path, ...]) -> Iterator[Finding]:
    busy = bool(stray) and project.is_shared()
    hint = "; somebody may be beginning it right now" if busy else ""
    for path in stray:
        what = f"a training died before it began: recover removes it{hint}"
        where = path.relative_to(project.folder).as_posix()
        yield Finding(Trouble.HALF_WRITTEN, where, what)


def _of_source(project: Project, case_id: str) -> Iterator[Finding]:
    case = case_of(project, case_id)
    try:
        state = source_state(case)
    except UserError as err:
        state = str(err)
    if state is not None:
        what = (
            f"{state}; put it back, or take another with: diffseg project add DIR "
            f"IMAGE --again {case.name!r}"
        )
        yield Finding(Trouble.SOURCE, case.name, what)


def _of_journal(project: Project) -> Iterator[Finding]:
    folder = project.journal_folder
    if not folder.is_dir():
        return
    for leftover in Journal(folder).leftovers():
        what = (
            f"{leftover.voxels} voxels drawn until {leftover.when:%Y-%m-%d %H:%M:%S} "
            "were not saved: open the project in the window to take them back"
        )
        yield Finding(Trouble.STROKES, leftover.name, what)
