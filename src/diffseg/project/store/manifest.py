"""``project.json``: by which a folder is known as a project, and where its rows are."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from diffseg.errors import UserError
from diffseg.volume import atomic_write_bytes

FILE = "project.json"
DATABASE = "project.db"
FORMAT = "diffseg-project"
VERSION = 1


class Manifest(BaseModel):
    """What `project.json` says."""

    model_config = ConfigDict(frozen=True)

    format: str = FORMAT
    version: int = Field(VERSION, title="Version of the folder's layout")
    schema_version: str = Field(title="Migration that the database was left at")
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    database: str = Field(
        DATABASE, title="A file in the folder, or a PostgreSQL URL without password"
    )

    @property
    def is_file(self) -> bool:
        """Whether the rows are in a file of the folder."""
        return self.database == DATABASE

    @property
    def url(self) -> URL:
        """URL of the database server."""
        return make_url(self.database)

    @property
    def namespace(self) -> str:
        """PostgreSQL schema of this project; one database can hold many."""
        return f"diffseg_{self.id}"


def checked_url(text: str) -> str:
    """Return a database's URL as it may stand in a file, or raise `UserError`."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise UserError(
            "the database's URL cannot be read; give postgresql://USER@HOST/DATABASE"
        ) from None
    if url.get_backend_name() != "postgresql":
        raise UserError(
            f"a database of kind {url.get_backend_name()!r} is not known; give "
            "postgresql://USER@HOST/DATABASE, or none for a file in the folder"
        )
    if url.password:
        raise UserError(
            "the database's URL holds a password, and would be kept in project.json; "
            "leave it out and put it into ~/.pgpass or PGPASSWORD"
        )
    return url.set(drivername="postgresql+psycopg").render_as_string()


def read_manifest(folder: Path) -> Manifest:
    """Read a project's manifest.

    Raises
    ------
    UserError
        The folder is no project, or one of a newer layout.
    """
    path = folder / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not a project: there is no {FILE}; make one with: "
            "diffseg project create DIR"
        ) from None
    except (OSError, ValueError) as err:
        raise UserError(
            f"{path} cannot be read ({err}); repair it with: diffseg project recover"
        ) from err
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise UserError(f"{path} is not that of a project; see diffseg project create")
    if not isinstance(told.get("version"), int) or told["version"] > VERSION:
        raise UserError(
            f"{folder} was made by a newer diffseg (layout {told.get('version')}, this "
            f"one knows {VERSION}); update diffseg"
        )
    try:
        return Manifest.model_validate(told)
    except ValidationError as err:
        where = err.errors()[0]["loc"]
        raise UserError(
            f"{path} is damaged ({'.'.join(map(str, where))}); put back a copy"
        ) from err


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a project's manifest, whole or not at all."""
    text = json.dumps(manifest.model_dump(), indent=1) + "\n"
    atomic_write_bytes(folder / FILE, text.encode())
