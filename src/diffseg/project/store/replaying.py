"""What the audit log tells of, and tables have lost, is said again."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from diffseg.project.store import schema
from diffseg.project.store.nouns import Row


def replay(db: Connection, since: int) -> int:
    """Apply entries of the audit log to tables that do not show them.

    Image-level labels come back whole; of reviews the state does, and what was
    commented is lost; masks speak for themselves.

    Parameters
    ----------
    since : int
        Only entries after this one.

    Returns
    -------
    int
        Entries that had left no trace.
    """
    table = schema.audit
    entries = select(table).where(table.c.id > since).order_by(table.c.id)
    count = 0
    for entry in db.execute(entries).mappings().all():
        apply = {"label": _label, "unlabel": _turn, "relabel": _turn, "review": _review}
        if entry["action"] in apply:
            try:
                with db.begin_nested():
                    count += apply[entry["action"]](db, entry)
            except (SQLAlchemyError, KeyError, TypeError, ValueError):
                continue  # its case is lost
    return count


def _label(db: Connection, entry: Row) -> bool:
    said, told = schema.image_labels, entry["details"]
    first, stop = told["slices"] or (None, None)
    row = {
        "case_id": entry["case_id"],
        "label": told["label"],
        "first": first,
        "stop": stop,
        "state": told["state"],
        "annotator": entry["who"],
        "at": entry["at"],
    }
    same = [said.c[name].is_not_distinct_from(value) for name, value in row.items()]
    if db.execute(select(said.c.id).where(*same)).first() is not None:
        return False
    db.execute(insert(said), {**row, "undone": False})
    return True


def _turn(db: Connection, entry: Row) -> bool:
    said, told = schema.image_labels, entry["details"]
    undone = entry["action"] == "unlabel"
    first, stop = told["slices"] or (None, None)
    which = (
        select(said.c.id)
        .where(
            said.c.case_id == entry["case_id"],
            said.c.annotator == entry["who"],
            said.c.label == told["label"],
            said.c.state == told["state"],
            said.c.first.is_not_distinct_from(first),
            said.c.stop.is_not_distinct_from(stop),
            said.c.undone != undone,
            said.c.at <= entry["at"],
        )
        .order_by(said.c.id.desc() if undone else said.c.id)
        .limit(1)
    )
    id = db.execute(which).scalar_one_or_none()
    if id is None:
        return False
    db.execute(update(said).where(said.c.id == id).values(undone=undone))
    return True


def _review(db: Connection, entry: Row) -> bool:
    reviews, told = schema.reviews, entry["details"]
    same = [
        reviews.c.case_id == entry["case_id"],
        reviews.c.role == told["role"],
    ]
    there = db.execute(select(reviews).where(*same)).mappings().one_or_none()
    row = {"state": told["state"], "reviewer": entry["who"], "at": entry["at"]}
    if there is None:
        key = {"case_id": entry["case_id"], "role": told["role"], "comment": ""}
        db.execute(insert(reviews), {**key, **row})
        return True
    if there["at"] >= entry["at"]:
        return False
    db.execute(update(reviews).where(*same).values(row))
    return True
