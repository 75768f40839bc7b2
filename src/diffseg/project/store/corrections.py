"""Corrections: every version of a case's mask is kept, and none is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.cases import case_of, locked
from diffseg.project.store.counting import Counts, classes_of, counted
from diffseg.project.store.masks import (
    Written,
    correction_file,
    read_labels,
    told_of,
    write_labels,
)
from diffseg.project.store.nouns import Case, ClassCount, Correction, Role, Row, moment
from diffseg.project.store.project import Project
from diffseg.project.store.proposals import proposal_of, read_proposed

_TABLE = schema.corrections
Mask = NDArray[np.uint8]


def add_correction(
    project: Project,
    case_id: str,
    mask: Mask,
    *,
    annotator: str,
    session: str | None = None,
    parent: str | None = None,
    proposal: str | None = None,
    touched: NDArray[np.bool_] | None = None,
    role: Role = Role.FIRST,
) -> Correction:
    """Save a case's mask as a new version; once this returns, nothing can lose it.

    The mask is written first, aside and renamed; then its row, in one transaction
    with its line of the audit log. Whoever else saved a version meanwhile keeps it.

    Parameters
    ----------
    mask : (Z, Y, X) uint8 ndarray
        Values of the project's label table. A value that is not in it comes in as
        ``label N``: no work is refused for the sake of a table.
    session : str, optional
        Of the window.
    parent : str, optional
        Id of the correction that this one started from.
    proposal : str, optional
        Id of the latest proposal that went into it.
    touched : (Z, Y, X) bool ndarray, optional
        Voxels that a person set or looked at, whatever stood there before.
    role : Role
        The second reader's versions never become the case's newest mask.

    Raises
    ------
    UserError
        The mask is not on the case's grid, the disk is full, or the database is
        locked; nothing was saved then.
    """
    case = case_of(project, case_id)
    _require_on(case, mask, touched)
    before, against = before_of(project, case, parent, proposal)
    counts, changed = counted(before, mask)
    id = uuid4().hex[:16]
    written = _write(project, case, told_of(id, parent, role), id, mask, touched)
    row = {
        "id": id,
        "case_id": case_id,
        "parent": parent,
        "proposal": proposal,
        **_files(*written),
        "voxels": changed,
        "annotator": annotator,
        "session": session,
        "role": role.value,
    }
    kept, newest = _inserted(project, row, counts, against, written)
    beside = newest is not None and newest != parent
    return replace(_correction(project.folder, kept), beside=beside)


def _inserted(
    project: Project,
    row: Row,
    counts: Counts,
    against: str,
    written: Sequence[Written],
) -> tuple[dict[str, Any], str | None]:
    """Insert the row of files that are written; without it they are removed."""
    sound = False
    try:
        with project.write() as db:
            done = insert_correction(db, row, counts, against, project.now(db))
            sound = True
    except BaseException:
        # Once the commit has begun, its outcome may be unknown: then the file
        # stays, and `check` tells which of the two it was.
        if not sound:
            _remove(project.folder, written)
        raise
    return done


def corrections_of(project: Project, case_id: str) -> tuple[Correction, ...]:
    """Every version of a case's mask, the first first."""
    rows = select(_TABLE).where(_TABLE.c.case_id == case_id).order_by(_TABLE.c.version)
    with project.read() as db:
        found = db.execute(rows).mappings().all()
    return tuple(_correction(project.folder, row) for row in found)


def newest_correction(
    project: Project, case_id: str, role: Role = Role.FIRST
) -> Correction | None:
    """The newest version of a case's mask, of one reading; None before the first."""
    rows = (
        select(_TABLE)
        .where(_TABLE.c.case_id == case_id, _TABLE.c.role == role.value)
        .order_by(_TABLE.c.version.desc())
        .limit(1)
    )
    with project.read() as db:
        found = db.execute(rows).mappings().one_or_none()
    return None if found is None else _correction(project.folder, found)


def correction_of(project: Project, id: str) -> Correction:
    """Look a correction up by its id; `UserError` where there is none."""
    with project.read() as db:
        rows = db.execute(select(_TABLE).where(_TABLE.c.id == id)).mappings()
        found = rows.one_or_none()
    if found is None:
        raise UserError(f"the project has no correction of id {id}")
    return _correction(project.folder, found)


def read_correction(project: Project, correction: Correction) -> Mask:
    """Read a version's (Z, Y, X) mask; `UserError` if it was changed outside."""
    grid = case_of(project, correction.case_id).grid
    return read_labels(correction.file, correction.sha256, grid)


def read_touched(project: Project, correction: Correction) -> NDArray[np.bool_] | None:
    """Read which (Z, Y, X) voxels a person set; None where that was not kept."""
    if correction.touched_file is None or correction.touched_sha256 is None:
        return None
    grid = case_of(project, correction.case_id).grid
    values = read_labels(correction.touched_file, correction.touched_sha256, grid)
    return values.astype(np.bool_)


def _require_on(case: Case, *arrays: NDArray[Any] | None) -> None:
    for array in arrays:
        if array is not None and array.shape != case.grid.shape:
            raise UserError(
                f"a mask of shape {array.shape} is not on the grid {case.grid.shape}"
            )


def before_of(
    project: Project, case: Case, parent: str | None, proposal: str | None
) -> tuple[Mask, str]:
    """The mask that was corrected, and which that is; nothing where it is lost."""
    try:
        if parent is not None:
            return read_correction(project, correction_of(project, parent)), "parent"
        if proposal is not None:
            return read_proposed(project, proposal_of(project, proposal)), "proposal"
    except UserError:
        # The work in hand is saved whatever became of the work before.
        return np.zeros(case.grid.shape, np.uint8), "nothing, what was before is lost"
    return np.zeros(case.grid.shape, np.uint8), "nothing"


def _write(
    project: Project,
    case: Case,
    told: str,
    id: str,
    mask: Mask,
    touched: NDArray[np.bool_] | None,
) -> tuple[Written, ...]:
    """Write what was touched, then the mask: a mask without its other half is rare."""
    folder, grid = project.folder, case.grid
    written: tuple[Written, ...] = ()
    try:
        if touched is not None:
            file = correction_file(case.id, id, touched=True)
            bits = touched.astype(np.uint8)
            written = (write_labels(folder, file, bits, grid, told),)
        values = np.asarray(mask, np.uint8)
        file = correction_file(case.id, id)
        return (write_labels(folder, file, values, grid, told), *written)
    except BaseException:
        _remove(folder, written)
        raise


def _files(mask: Written, touched: Written | None = None) -> dict[str, str | None]:
    return {
        "file": mask.file,
        "sha256": mask.sha256,
        "touched_file": touched.file if touched else None,
        "touched_sha256": touched.sha256 if touched else None,
    }


def _remove(folder: Path, written: Sequence[Written]) -> None:
    for one in written:
        (folder / one.file).unlink(missing_ok=True)


def insert_correction(
    db: Connection, row: Row, counts: Counts, against: str, now: float
) -> tuple[dict[str, Any], str | None]:
    """Add a correction's row as the newest version, and a line to the audit log.

    Parameters
    ----------
    row : mapping
        Without version, classes and time.
    counts : mapping
        What `counted` gave.
    against : str
        What it was counted against.

    Returns
    -------
    tuple of dict and str or None
        The whole row, and the id of what was the newest version of that reading.
    """
    case = locked(db, row["case_id"])
    version = int(case["versions"]) + 1
    same = (_TABLE.c.case_id == row["case_id"], _TABLE.c.role == row["role"])
    newest = db.execute(
        select(_TABLE.c.id).where(*same).order_by(_TABLE.c.version.desc()).limit(1)
    ).scalar_one_or_none()
    classes = classes_of(db, counts)
    kept = {**row, "version": version, "classes": classes, "at": now}
    db.execute(insert(_TABLE), kept)
    db.execute(
        update(schema.cases)
        .where(schema.cases.c.id == row["case_id"])
        .values(versions=version, changed=now)
    )
    _noted(db, kept, against)
    return kept, newest


def _noted(db: Connection, row: Row, against: str) -> None:
    details = {
        "version": row["version"],
        "sha256": row["sha256"],
        "against": against,
        "role": row["role"],
        "changed": {one["name"]: one["changed"] for one in row["classes"]},
    }
    note(
        db,
        row["at"],
        row["annotator"],
        "correct",
        case_id=row["case_id"],
        subject=row["id"],
        voxels=row["voxels"],
        details=details,
    )


def _correction(folder: Path, row: Row) -> Correction:
    told = dict(row)
    for name in ("file", "touched_file"):
        told[name] = None if told[name] is None else folder / told[name]
    told["classes"] = tuple(ClassCount(**one) for one in told["classes"])
    told["at"] = moment(told["at"])
    told["role"] = Role(told["role"])
    return Correction(**told)
