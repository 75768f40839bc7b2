"""A database is brought to today's schema when it is opened, and never beyond."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from diffseg.errors import UserError

STEPS = Path(__file__).parent / "migrations"
logging.getLogger("alembic").setLevel(logging.WARNING)


def newest() -> str:
    """Schema that this program knows best."""
    head = _script(STEPS).get_current_head()
    assert head is not None
    return head


def schema_of(connection: Connection) -> str | None:
    """Schema of a database; None for one without tables."""
    return MigrationContext.configure(connection).get_current_revision()


def is_behind(folder: Path, schema: str | None) -> bool:
    """Whether a database has to be migrated.

    Raises
    ------
    UserError
        A newer program made it.
    """
    known = {step.revision for step in _script(STEPS).walk_revisions()}
    if schema is not None and schema not in known:
        raise UserError(
            f"{folder} was made by a newer diffseg (schema {schema}, this one knows "
            f"up to {newest()}); update diffseg"
        )
    return schema != newest()


def migrate(connection: Connection) -> None:
    """Apply the steps that are missing, within the transaction that is under way."""
    config = _config(STEPS)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _script(steps: Path) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(steps))


def _config(steps: Path) -> Config:
    config = Config()
    # Alembic takes % for a place to fill in.
    config.set_main_option("script_location", str(steps).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
