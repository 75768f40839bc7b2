"""The store's tables, as the newest migration leaves them; alike on both databases."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# Names sort alike everywhere: by code point, as SQLite does.
NAME = Text().with_variant(Text(collation="C"), "postgresql")


def _moment(name: str, nullable: bool = False) -> Column[float]:
    """Seconds since the epoch, as the writer's clock had them; never an order."""
    return Column(name, Double, nullable=nullable)


def _case(nullable: bool = False) -> Column[str]:
    return Column("case_id", Text, ForeignKey("cases.id"), nullable=nullable)


project = Table(
    "project",
    metadata,
    Column("id", Text, primary_key=True),
    _moment("created"),
    Column("open_labels", Boolean, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("value", Integer, nullable=False),
    Column("color", Text, nullable=False),
    Column("code", Text),
    UniqueConstraint("value"),
)

cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("paths", JSON, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("grid", JSON, nullable=False),
    Column("frame", Integer),
    Column("series", Text),
    Column("modality", Text),
    _moment("added"),
    _moment("changed"),
    Column("versions", Integer, nullable=False),
    UniqueConstraint("name"),
    Index(None, "added"),
    Index(None, "changed"),
)

image_labels = Table(
    "image_labels",
    metadata,
    Column("id", Integer, primary_key=True),
    _case(),
    Column("label", NAME, ForeignKey("labels.name"), nullable=False),
    Column("first", Integer),
    Column("stop", Integer),
    Column("state", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    _moment("at"),
    Column("undone", Boolean, nullable=False),
    CheckConstraint("state IN ('present', 'absent', 'unknown')", name="state"),
    CheckConstraint("first IS NULL OR first < stop", name="range"),
    Index(None, "case_id", "id"),
    Index(None, "label"),
    sqlite_autoincrement=True,
)

models = Table(
    "models",
    metadata,
    Column("id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("licence", Text),
    _moment("first_used"),
    PrimaryKeyConstraint("id", "version", "sha256"),
)

proposals = Table(
    "proposals",
    metadata,
    Column("id", Text, primary_key=True),
    _case(),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("model_sha256", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("members", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("files", JSON, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("annotator", Text, nullable=False),
    _moment("at"),
    ForeignKeyConstraint(
        ["model_id", "model_version", "model_sha256"],
        ["models.id", "models.version", "models.sha256"],
    ),
    Index(None, "case_id", "at"),
)

# Made from a proposal, and made again wherever it is missing.
summaries = Table(
    "summaries",
    metadata,
    Column("proposal", Text, ForeignKey("proposals.id"), primary_key=True),
    Column("labels", Text, nullable=False),
    Column("numbers", LargeBinary, nullable=False),
)

corrections = Table(
    "corrections",
    metadata,
    Column("id", Text, primary_key=True),
    _case(),
    Column("version", Integer, nullable=False),
    Column("parent", Text, ForeignKey("corrections.id")),
    Column("proposal", Text, ForeignKey("proposals.id")),
    Column("file", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("touched_file", Text),
    Column("touched_sha256", Text),
    Column("classes", JSON, nullable=False),
    Column("voxels", BigInteger, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("session", Text),
    _moment("at"),
    Column("role", Text, nullable=False, server_default="first"),
    UniqueConstraint("case_id", "version"),
)

reviews = Table(
    "reviews",
    metadata,
    _case(),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("correction", Text, ForeignKey("corrections.id")),
    _moment("at"),
    PrimaryKeyConstraint("case_id", "role"),
    CheckConstraint("role IN ('first', 'second')", name="role"),
    CheckConstraint(
        "state IN ('not_started', 'in_progress', 'done', 'flagged')", name="state"
    ),
    Index(None, "role", "state"),
)

seen = Table(
    "seen",
    metadata,
    _case(),
    Column("axis", Integer, nullable=False),
    Column("slice", Integer, nullable=False),
    Column("annotator", Text, nullable=False),
    _moment("at"),
    PrimaryKeyConstraint("case_id", "axis", "slice", "annotator"),
)

leases = Table(
    "leases",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("annotator", Text, nullable=False),
    Column("session", Text),
    _moment("renewed"),
    _moment("until"),
)

runs = Table(
    "training_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("model_sha256", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("cases", JSON, nullable=False),
    Column("result", JSON),
    Column("annotator", Text, nullable=False),
    _moment("started"),
    _moment("ended", nullable=True),
    ForeignKeyConstraint(
        ["model_id", "model_version", "model_sha256"],
        ["models.id", "models.version", "models.sha256"],
    ),
    CheckConstraint(
        "state IN ('running', 'kept', 'refused', 'cancelled', 'failed')", name="state"
    ),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    _moment("at"),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    _case(nullable=True),
    Column("subject", Text),
    Column("voxels", BigInteger),
    Column("model_id", Text),
    Column("model_version", Text),
    Column("model_sha256", Text),
    Column("seed", BigInteger),
    Column("details", JSON, nullable=False),
    Index(None, "case_id", "id"),
    sqlite_autoincrement=True,
)

NEVER_CHANGED = ("audit", "proposals")
"""Tables of which a row is neither changed nor removed; the database refuses it."""
