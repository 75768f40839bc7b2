"""The audit log: who did what and when. Rows are added, and never changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select

from diffseg.project.store import schema
from diffseg.project.store.nouns import Entry, moment

if TYPE_CHECKING:
    from diffseg.project.store.project import Project

_PAGE = 1000


def note(
    db: Connection,
    at: float,
    who: str,
    action: str,
    *,
    case_id: str | None = None,
    subject: str | None = None,
    voxels: int | None = None,
    model: tuple[str, str, str] | None = None,
    seed: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add a row, within the transaction of what it tells of.

    Names of cases, paths and comments stay out: they may be a patient's.

    Parameters
    ----------
    at : float
        Seconds since the epoch.
    who : str
        The annotator.
    action : str
        A verb: ``add``, ``label``, ``propose``, ``correct``, ``review``, ...
    subject : str, optional
        Id of a proposal, a correction or a training run.
    voxels : int, optional
        That changed.
    model : (id, version, sha256), optional
    details : mapping, optional
        What else there is to say, as JSON.
    """
    id, version, sha256 = model or (None, None, None)
    row = {
        "at": at,
        "who": who,
        "action": action,
        "case_id": case_id,
        "subject": subject,
        "voxels": voxels,
        "model_id": id,
        "model_version": version,
        "model_sha256": sha256,
        "seed": seed,
        "details": dict(details or {}),
    }
    db.execute(insert(schema.audit), row)


def add_note(
    project: Project,
    annotator: str,
    action: str,
    *,
    case_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Note what leaves no other trace, such as whether advice was followed.

    Names of cases, paths and comments stay out: they may be a patient's.
    """
    with project.write() as db:
        now = project.now(db)
        note(db, now, annotator, action, case_id=case_id, details=details)


def audit(
    project: Project, *, case_id: str | None = None, since: int = 0
) -> Iterator[Entry]:
    """Yield the audit log in the order of writing.

    The order is that of the rows, not of their times: a clock may go backwards.

    Parameters
    ----------
    case_id : str, optional
        Of this case alone.
    since : int
        Only what comes after the entry of this id.
    """
    table = schema.audit
    while True:
        rows = select(table).where(table.c.id > since).order_by(table.c.id)
        if case_id is not None:
            rows = rows.where(table.c.case_id == case_id)
        with project.read() as db:
            found = db.execute(rows.limit(_PAGE)).mappings().all()
        for row in found:
            yield Entry(**{**row, "at": moment(row["at"])})
        if len(found) < _PAGE:
            return
        since = found[-1]["id"]
