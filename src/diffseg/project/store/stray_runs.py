"""Folders of trainings that died before a row told of them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, select

from diffseg.project.store import schema
from diffseg.project.store.project import Project

FOLDER = "training"
"""In the project: a folder for each training run, by its id."""


def run_folders(project: Project) -> tuple[Path, ...]:
    """Folders of all runs that there are."""
    place = project.folder / FOLDER
    if not place.is_dir():
        return ()
    return tuple(sorted(path for path in place.iterdir() if path.is_dir()))


def without_row(folders: tuple[Path, ...], db: Connection) -> tuple[Path, ...]:
    """Those of them that no row tells of: nothing was trained in them yet."""
    known = set(db.execute(select(schema.runs.c.id)).scalars())
    return tuple(path for path in folders if path.name not in known)
