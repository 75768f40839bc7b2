"""Files that no row tells of: what they are is told by their names and themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.cases import case_of
from diffseg.project.store.corrections import before_of, insert_correction
from diffseg.project.store.counting import classes_of, counted
from diffseg.project.store.masks import (
    FileName,
    name_of,
    parent_told,
    read_labels,
    role_told,
)
from diffseg.project.store.project import Project
from diffseg.project.store.proposals import insert_proposal
from diffseg.project.store.sources import file_digest

WHO = "recovered"
"""Annotator of what is taken in, whose annotator is not known."""
LOST = "lost+found"


def adopt(project: Project, orphans: Sequence[str]) -> Iterator[str]:
    """Take files in that no row tells of, and set aside what cannot be.

    Parameters
    ----------
    orphans : sequence of str
        Paths within the project.

    Yields
    ------
    str
        In a sentence, what was done.
    """
    named = {file: name for file in orphans if (name := name_of(file)) is not None}
    rest = set(orphans)
    by_age = sorted(named, key=lambda file: (project.folder / file).stat().st_mtime_ns)
    for file in by_age:
        if named[file].kind == "report":
            mine = {f for f in rest if Path(f).parent == Path(file).parent}
            if _proposal(project, file):
                rest -= mine
                yield f"{file}: its proposal was taken in"
    waiting = [file for file in by_age if named[file].kind == "correction"]
    for file in _parents_first(project, waiting, named):
        touched = file.replace(".nii.gz", "-touched.nii.gz")
        if _correction(project, file, touched if touched in rest else None, named):
            rest -= {file, touched}
            yield f"{file}: taken in as a version of its case"
    for file in sorted(rest):
        yield f"{file}: set aside as {set_aside(project.folder, file)}"


def accept_edit(project: Project, id: str, file: str) -> bool:
    """Take a correction as somebody edited it outside; whether that can be done."""
    table = schema.corrections
    with project.read() as db:
        row = db.execute(select(table).where(table.c.id == id)).mappings().one()
    if file != row["file"]:
        return False  # what a person touched is known to nobody else
    case, digest = case_of(project, row["case_id"]), file_digest(project.folder / file)
    try:
        mask = read_labels(project.folder / file, digest, case.grid)
    except UserError:
        return False
    before, against = before_of(project, case, row["parent"], row["proposal"])
    counts, voxels = counted(before, mask)
    with project.write() as db:
        classes = classes_of(db, counts)
        db.execute(
            update(table)
            .where(table.c.id == id)
            .values(sha256=digest, classes=classes, voxels=voxels)
        )
        details = {"sha256": digest, "before": row["sha256"], "against": against}
        note(
            db, project.now(db), WHO, "accept edit",
            case_id=case.id, subject=id, voxels=voxels, details=details,
        )  # fmt: skip
    return True


def set_aside(folder: Path, file: str) -> str:
    """Move a file of the project out of the way; its new path within the project."""
    target = folder / LOST / file
    if target.exists():
        target = target.with_name(f"{uuid4().hex[:8]}-{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder / file, target)
    return target.relative_to(folder).as_posix()


def _parents_first(
    project: Project, files: Sequence[str], named: dict[str, FileName]
) -> Iterator[str]:
    """The oldest first, but none before the one that it started from."""
    parents = {}
    for file in files:
        try:
            parents[file] = parent_told(project.folder / file)
        except UserError:
            parents[file] = None
    waiting = list(files)
    while waiting:
        ids = {named[file].id for file in waiting}
        ready = [file for file in waiting if parents[file] not in ids] or waiting
        waiting.remove(ready[0])
        yield ready[0]


def _correction(
    project: Project, file: str, touched: str | None, named: dict[str, FileName]
) -> bool:
    name, path = named[file], project.folder / file
    try:
        case, digest = case_of(project, name.case_id), file_digest(path)
        mask = read_labels(path, digest, case.grid)
        parent = parent_told(path)
        with project.read() as db:
            table = schema.corrections.c
            known = select(table.id).where(table.id == parent, table.case_id == case.id)
            parent = db.execute(known).scalar_one_or_none()
        before, against = before_of(project, case, parent, None)
        counts, changed = counted(before, mask)
        row = {
            "id": name.id,
            "case_id": case.id,
            "parent": parent,
            "proposal": None,
            "file": file,
            "sha256": digest,
            "touched_file": touched,
            "touched_sha256": touched and file_digest(project.folder / touched),
            "voxels": changed,
            "annotator": WHO,
            "session": None,
            "role": role_told(path).value,
        }
        with project.write() as db:
            insert_correction(db, row, counts, against, project.now(db))
    except (UserError, SQLAlchemyError):
        return False
    return True


def _proposal(project: Project, file: str) -> bool:
    path = project.folder / file
    try:
        row = json.loads(path.read_bytes())["row"]
        for one in row["files"].values():
            if file_digest(project.folder / one["file"]) != one["sha256"]:
                return False
        row["files"]["report"] = {"file": file, "sha256": file_digest(path)}
        with project.write() as db:
            insert_proposal(db, {**row, "at": project.now(db)})
    except (UserError, SQLAlchemyError, OSError, ValueError, KeyError, TypeError):
        return False
    return True
