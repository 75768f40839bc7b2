"""Proposals are kept as they were made, next to what became of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from diffseg.domain import LabelTable, Proposal, Provenance, StructureReport
from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.cases import case_of, locked
from diffseg.project.store.masks import proposal_folder, read_labels
from diffseg.project.store.models import know_model
from diffseg.project.store.nouns import Case, Row, StoredProposal, moment
from diffseg.project.store.project import Project
from diffseg.project.store.sources import file_digest, plain_source
from diffseg.project.store.summaries import (
    SLICES,
    Summary,
    insert_summary,
    summary_of_proposal,
    write_slices,
)
from diffseg.volume import atomic_write_bytes, write_float, write_mask
from diffseg.volume.quiet import nibabel

_TABLE = schema.proposals
REPORT = "report.json"


def add_proposal(
    project: Project, case_id: str, proposal: Proposal, *, annotator: str
) -> StoredProposal:
    """Keep a proposal for good, with all that is needed to make it again.

    Parameters
    ----------
    proposal : Proposal
        On the case's grid.
    annotator : str
        Who asked for it.

    Raises
    ------
    UserError
        It is not on the case's grid, the disk is full, or the database is locked;
        nothing was saved then.
    """
    case = case_of(project, case_id)
    if proposal.mask.shape != case.grid.shape:
        raise UserError(
            f"a proposal of shape {proposal.mask.shape} is not on the grid "
            f"{case.grid.shape}"
        )
    id = uuid4().hex[:16]
    within = proposal_folder(case_id, id)
    row = {"id": id, "case_id": case_id, "annotator": annotator, **told_row(proposal)}
    summary = summary_of_proposal(case_id, proposal)
    place, sound = project.folder / within, False
    try:
        row["files"] = _write(place, within, case, proposal, row, summary)
        with project.write() as db:
            locked(db, case_id)
            row["at"] = project.now(db)
            insert_proposal(db, row)
            insert_summary(db, id, summary)
            sound = True
    except BaseException:
        if not sound:  # otherwise the commit's outcome may be unknown
            shutil.rmtree(place, ignore_errors=True)
        raise
    return _proposal(project.folder, row)


def insert_proposal(db: Connection, row: Row) -> None:
    """Add a proposal's row, its model where that is new, and a line to the log."""
    model = (row["model_id"], row["model_version"], row["model_sha256"])
    know_model(db, *model, licence=row.get("licence"), now=row["at"])
    db.execute(
        insert(_TABLE), {column.name: row[column.name] for column in _TABLE.columns}
    )
    db.execute(
        update(schema.cases)
        .where(schema.cases.c.id == row["case_id"])
        .values(changed=row["at"])
    )
    details = {"members": row["members"], "steps": row["steps"]}
    note(
        db,
        row["at"],
        row["annotator"],
        "propose",
        case_id=row["case_id"],
        subject=row["id"],
        model=model,
        seed=row["seed"],
        details=details,
    )


def proposals_of(project: Project, case_id: str) -> tuple[StoredProposal, ...]:
    """Every proposal for a case, the first first."""
    rows = select(_TABLE).where(_TABLE.c.case_id == case_id)
    with project.read() as db:
        found = db.execute(rows.order_by(_TABLE.c.at, _TABLE.c.id)).mappings().all()
    return tuple(_proposal(project.folder, row) for row in found)


def proposal_of(project: Project, id: str) -> StoredProposal:
    """Look a proposal up by its id; `UserError` where there is none."""
    with project.read() as db:
        rows = db.execute(select(_TABLE).where(_TABLE.c.id == id)).mappings()
        found = rows.one_or_none()
    if found is None:
        raise UserError(f"the project has no proposal of id {id}")
    return _proposal(project.folder, found)


def read_proposed(project: Project, proposal: StoredProposal) -> NDArray[np.uint8]:
    """Read a proposal's (Z, Y, X) mask; `UserError` if it was changed outside."""
    with project.read() as db:
        files = db.execute(
            select(_TABLE.c.files).where(_TABLE.c.id == proposal.id)
        ).scalar_one()
    grid = case_of(project, proposal.case_id).grid
    return read_labels(proposal.files["mask"], files["mask"]["sha256"], grid)


def read_maps(
    project: Project, proposal: StoredProposal
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read a proposal's (C, Z, Y, X) probability and (Z, Y, X) uncertainty.

    Raises
    ------
    UserError
        A file is missing or cannot be read.
    """
    shape = case_of(project, proposal.case_id).grid.shape
    arrays = []
    for name in ("probability", "uncertainty"):
        path = proposal.files[name]
        if not path.is_file():
            raise UserError(f"{path} is missing; see diffseg project check")
        voxels = np.asanyarray(nibabel().load(path).dataobj, dtype=np.float32)
        arrays.append(np.ascontiguousarray(voxels.T).reshape(-1, *shape))
    return arrays[0], arrays[1][0]


def provenance_of(proposal: StoredProposal) -> Provenance:
    """How a proposal was made, as its report has it.

    Raises
    ------
    UserError
        The report is missing or damaged.
    """
    path, known = proposal.files["report"], {one.name for one in fields(Provenance)}
    try:
        told = json.loads(path.read_bytes())["report"]
        return Provenance(**{name: told[name] for name in known & told.keys()})
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UserError(f"{path} cannot be read; see diffseg project check") from err


def measured(proposal: StoredProposal) -> tuple[StructureReport, ...]:
    """What the ensemble measured of each structure, as the report has it.

    Raises
    ------
    UserError
        The report is missing or damaged.
    """
    path = proposal.files["report"]
    known = {one.name for one in fields(StructureReport)}
    try:
        told = json.loads(path.read_bytes())["report"]["structures"]
        return tuple(
            StructureReport(**{name: one[name] for name in known & one.keys()})
            for one in told
        )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UserError(f"{path} cannot be read; see diffseg project check") from err


def told_row(proposal: Proposal) -> dict[str, Any]:
    """What a proposal's row says of how it was made."""
    made = proposal.provenance
    return {
        "model_id": str(made.model["id"]),
        "model_version": str(made.model["version"]),
        "model_sha256": str(made.model["sha256"]),
        "licence": made.model.get("licence"),
        "seed": made.seed,
        "members": made.members,
        "steps": made.steps,
        "labels": proposal.labels.model_dump(mode="json"),
    }


def _write(
    place: Path,
    within: str,
    case: Case,
    proposal: Proposal,
    row: Row,
    summary: Summary,
) -> dict[str, Any]:
    """Write a proposal's files, the report last; their names and checksums."""
    grid, source = case.grid, plain_source(case.grid, "proposal")
    told = f"diffseg proposal {row['id']}"
    write_mask(place / "mask.nii.gz", proposal.mask, grid, source, told)
    maps = {"probability": proposal.probability, "uncertainty": proposal.uncertainty}
    for name, values in maps.items():
        write_float(place / f"{name}.nii.gz", values, grid, source, told)
    write_slices(place / SLICES, summary)
    names = {name: f"{name}.nii.gz" for name in ("mask", *maps)} | {"slices": SLICES}
    files = {
        key: {"file": f"{within}/{name}", "sha256": file_digest(place / name)}
        for key, name in names.items()
    }
    report = {"row": {**row, "files": files}, "report": proposal.report()}
    text = json.dumps(report, indent=1, default=str)
    atomic_write_bytes(place / REPORT, text.encode())
    digest = file_digest(place / REPORT)
    return {**files, "report": {"file": f"{within}/{REPORT}", "sha256": digest}}


def _proposal(folder: Path, row: Row) -> StoredProposal:
    told = {column.name: row[column.name] for column in _TABLE.columns}
    told["files"] = {name: folder / one["file"] for name, one in row["files"].items()}
    told["labels"] = LabelTable.model_validate(row["labels"])
    told["at"] = moment(row["at"])
    return StoredProposal(**told)
