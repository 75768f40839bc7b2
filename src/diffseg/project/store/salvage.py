"""Rows are taken out of a damaged database, as far as it can be read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, Table, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from diffseg.project.store import schema

_LIVING = ("cases", "labels", "image_labels", "reviews", "training_runs")
"""Tables of which rows change: here the damaged database knows better than a copy."""
_PASSING = ("project", "leases")
"""Tables of which nothing is taken."""


def salvage(damaged: Path, db: Connection) -> dict[str, int]:
    """Add what can be read of a damaged SQLite file to a sound, older database.

    Parameters
    ----------
    damaged : Path
        With its log (``-wal``) beside it, where there is one.
    db : Connection
        To a database of today's schema, in a transaction.

    Returns
    -------
    dict of str to int
        For each table, rows that were new or newer.
    """
    taken: dict[str, int] = {}
    try:
        source = sqlite3.connect(damaged)
    except sqlite3.Error:
        return taken
    with closing(source):
        source.row_factory = sqlite3.Row
        for table in schema.metadata.sorted_tables:
            if table.name not in _PASSING:
                rows = sorted(_readable(source, table), key=_order)
                taken[table.name] = sum(_put(db, table, row) for row in rows)
    return {name: count for name, count in taken.items() if count}


def _readable(source: sqlite3.Connection, table: Table) -> Iterator[dict[str, Any]]:
    """Rows from both ends, up to the damage in the middle."""
    # An older schema lacks columns, whose defaults then hold.
    there = {row["name"] for row in _columns(source, table)}
    kept = [column.name for column in table.columns if column.name in there]
    if not kept:
        return
    names = ", ".join(f'"{name}"' for name in kept)
    met: set[int] = set()
    for direction in ("ASC", "DESC"):
        query = f'SELECT rowid AS rowid_, {names} FROM "{table.name}" NOT INDEXED '
        try:
            for row in source.execute(f"{query} ORDER BY rowid {direction}"):
                told = dict(row)
                number = told.pop("rowid_")
                if number in met:
                    return
                met.add(number)
                yield told
        except (sqlite3.Error, ValueError):  # a text that is none is damage, too
            continue


def _columns(source: sqlite3.Connection, table: Table) -> list[sqlite3.Row]:
    try:
        return source.execute(f'PRAGMA table_info("{table.name}")').fetchall()
    except sqlite3.Error:
        return []


def _put(db: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Add a row, unless it is there already or points to nothing."""
    keys = [column.name for column in table.primary_key.columns]
    try:
        for column in table.columns:
            if isinstance(column.type, JSON) and row.get(column.name) is not None:
                row[column.name] = json.loads(row[column.name])
        same = [table.c[key] == row[key] for key in keys]
        there = db.execute(select(table).where(*same)).mappings().one_or_none()
        if there is not None and (dict(there) == row or table.name not in _LIVING):
            return False
        order = insert(table).values(row)
        if there is not None:
            order = order.on_conflict_do_update(index_elements=keys, set_=row)
        with db.begin_nested():
            db.execute(order)
    except (SQLAlchemyError, ValueError, TypeError, KeyError):
        return False
    return True


def _order(row: dict[str, Any]) -> tuple[int, Any]:
    """A correction's parent comes before it."""
    number = row.get("version")
    return (number if isinstance(number, int) else 0, 0)
