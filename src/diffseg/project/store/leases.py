"""Leases: one annotator at a time on a case; the second is told who it is.

A lease is a courtesy, not a lock on the work: what somebody saves without one is
kept as a version of its own.

A clock may jump. Forwards, leases end early, and who renews is told. Backwards, a
lease would seem to have begun in the future, and to hold for as long as the jump:
whoever finds such a one begins it anew, at the time that it is now, so that it ends
one term later at most, unless its holder renews it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.cases import locked
from diffseg.project.store.nouns import Lease, Row, moment
from diffseg.project.store.project import Project

TERM = 300.0
"""Seconds that a lease holds; a window renews it well before."""
_SKEW = 2.0
"""Seconds that clocks of several machines may differ by."""
_TABLE = schema.leases


class Leased(UserError):
    """Somebody else works on the case.

    Parameters
    ----------
    lease : Lease
        Theirs.
    """

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"{lease.annotator} works on this case until "
            f"{lease.until:%H:%M:%S} at least; take another one, or ask them"
        )
        self.lease = lease


def take_lease(
    project: Project,
    case_id: str,
    *,
    annotator: str,
    session: str | None = None,
    seconds: float = TERM,
) -> Lease:
    """Take a case, or hold it for longer; an annotator's own lease is theirs again.

    Parameters
    ----------
    session : str, optional
        Of the window.
    seconds : float
        From now.

    Raises
    ------
    Leased
        Somebody else has it.
    UserError
        There is no such case.
    """
    with project.write() as db:
        locked(db, case_id)
        now = project.now(db)
        held = _held(db, case_id, now)
        if held is None or held["annotator"] == annotator:
            row = {
                "case_id": case_id,
                "annotator": annotator,
                "session": session,
                "renewed": now,
                "until": now + seconds,
            }
            db.execute(delete(_TABLE).where(_TABLE.c.case_id == case_id))
            db.execute(insert(_TABLE), row)
            if held is None:
                note(db, now, annotator, "lease", case_id=case_id)
            return _lease(row)
    # Outside of the transaction, which may have begun their lease anew.
    raise Leased(_lease(held))


def release_lease(project: Project, case_id: str, *, annotator: str) -> None:
    """Give a case back; no harm where somebody else has it, or nobody."""
    with project.write() as db:
        gone = db.execute(
            delete(_TABLE).where(
                _TABLE.c.case_id == case_id, _TABLE.c.annotator == annotator
            )
        )
        if gone.rowcount:
            note(db, project.now(db), annotator, "release", case_id=case_id)


def holder_of(project: Project, case_id: str) -> Lease | None:
    """Who works on a case; None if nobody does."""
    with project.write() as db:
        held = _held(db, case_id, project.now(db))
    return None if held is None else _lease(held)


def _held(db: Connection, case_id: str, now: float) -> dict[str, Any] | None:
    row = db.execute(select(_TABLE).where(_TABLE.c.case_id == case_id)).mappings()
    found = row.one_or_none()
    if found is None:
        return None
    lease = dict(found)
    if lease["renewed"] > now + _SKEW:
        term = lease["until"] - lease["renewed"]
        lease |= {"renewed": now, "until": now + term}
        db.execute(update(_TABLE).where(_TABLE.c.case_id == case_id).values(lease))
    return lease if now < lease["until"] else None


def _lease(row: Row) -> Lease:
    return Lease(row["case_id"], row["annotator"], row["session"], moment(row["until"]))
