"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NEVER_CHANGED = ("audit", "proposals")


def upgrade() -> None:
    """Make every table, and let the database keep what is never changed."""
    _cases()
    _said()
    _proposed()
    _corrected()
    _trained()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '% is never changed', TG_TABLE_NAME; END $$"
        )
    for table in NEVER_CHANGED:
        for event in ("UPDATE", "DELETE"):
            op.execute(_trigger(table, event))


def _trigger(table: str, event: str) -> str:
    head = f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
    if op.get_bind().dialect.name == "postgresql":
        return f"{head} FOR EACH ROW EXECUTE FUNCTION refuse()"
    return f"{head} BEGIN SELECT RAISE(ABORT, '{table} is never changed'); END"


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _moment(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _cases() -> None:
    op.create_table(
        "cases",
        _text("id"),
        sa.Column("name", NAME, nullable=False),
        _json("paths"),
        _text("sha256"),
        _json("grid"),
        sa.Column("frame", sa.Integer(), nullable=True),
        _text("series", True),
        _text("modality", True),
        _moment("added"),
        _moment("changed"),
        _number("versions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("name", name=op.f("uq_cases_name")),
    )
    op.create_index(op.f("ix_cases_added"), "cases", ["added"])
    op.create_index(op.f("ix_cases_changed"), "cases", ["changed"])
    op.create_table(
        "labels",
        sa.Column("name", NAME, nullable=False),
        _number("position"),
        _number("value"),
        _text("color"),
        _text("code", True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_labels")),
        sa.UniqueConstraint("value", name=op.f("uq_labels_value")),
    )
    op.create_table(
        "project",
        _text("id"),
        _moment("created"),
        sa.Column("open_labels", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
    )


def _said() -> None:
    op.create_table(
        "image_labels",
        _number("id"),
        _text("case_id"),
        sa.Column("label", NAME, nullable=False),
        sa.Column("first", sa.Integer(), nullable=True),
        sa.Column("stop", sa.Integer(), nullable=True),
        _text("state"),
        _text("annotator"),
        _moment("at"),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "state IN ('present', 'absent', 'unknown')",
            name=op.f("ck_image_labels_state"),
        ),
        sa.CheckConstraint(
            "first IS NULL OR first < stop", name=op.f("ck_image_labels_range")
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_image_labels_case_id")
        ),
        sa.ForeignKeyConstraint(
            ["label"], ["labels.name"], name=op.f("fk_image_labels_label")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_labels")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_image_labels_case_id_id"), "image_labels", ["case_id", "id"]
    )
    op.create_index(op.f("ix_image_labels_label"), "image_labels", ["label"])
    op.create_table(
        "seen",
        _text("case_id"),
        _number("axis"),
        _number("slice"),
        _text("annotator"),
        _moment("at"),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_seen_case_id")
        ),
        sa.PrimaryKeyConstraint(
            "case_id", "axis", "slice", "annotator", name=op.f("pk_seen")
        ),
    )
    op.create_table(
        "leases",
        _text("case_id"),
        _text("annotator"),
        _text("session", True),
        _moment("renewed"),
        _moment("until"),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_leases_case_id")
        ),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_leases")),
    )


def _proposed() -> None:
    op.create_table(
        "models",
        _text("id"),
        _text("version"),
        _text("sha256"),
        _text("licence", True),
        _moment("first_used"),
        sa.PrimaryKeyConstraint("id", "version", "sha256", name=op.f("pk_models")),
    )
    op.create_table(
        "proposals",
        _text("id"),
        _text("case_id"),
        _text("model_id"),
        _text("model_version"),
        _text("model_sha256"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        _number("members"),
        _number("steps"),
        _json("files"),
        _json("labels"),
        _text("annotator"),
        _moment("at"),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_proposals_case_id")
        ),
        sa.ForeignKeyConstraint(
            ["model_id", "model_version", "model_sha256"],
            ["models.id", "models.version", "models.sha256"],
            name=op.f("fk_proposals_model_id_model_version_model_sha256"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    op.create_index(op.f("ix_proposals_case_id_at"), "proposals", ["case_id", "at"])


def _corrected() -> None:
    op.create_table(
        "corrections",
        _text("id"),
        _text("case_id"),
        _number("version"),
        _text("parent", True),
        _text("proposal", True),
        _text("file"),
        _text("sha256"),
        _text("touched_file", True),
        _text("touched_sha256", True),
        _json("classes"),
        sa.Column("voxels", sa.BigInteger(), nullable=False),
        _text("annotator"),
        _text("session", True),
        _moment("at"),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_corrections_case_id")
        ),
        sa.ForeignKeyConstraint(
            ["parent"], ["corrections.id"], name=op.f("fk_corrections_parent")
        ),
        sa.ForeignKeyConstraint(
            ["proposal"], ["proposals.id"], name=op.f("fk_corrections_proposal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
        sa.UniqueConstraint(
            "case_id", "version", name=op.f("uq_corrections_case_id_version")
        ),
    )
    op.create_table(
        "reviews",
        _text("case_id"),
        _text("role"),
        _text("state"),
        _text("comment"),
        _text("reviewer"),
        _text("correction", True),
        _moment("at"),
        sa.CheckConstraint("role IN ('first', 'second')", name=op.f("ck_reviews_role")),
        sa.CheckConstraint(
            "state IN ('not_started', 'in_progress', 'done', 'flagged')",
            name=op.f("ck_reviews_state"),
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_reviews_case_id")
        ),
        sa.ForeignKeyConstraint(
            ["correction"], ["corrections.id"], name=op.f("fk_reviews_correction")
        ),
        sa.PrimaryKeyConstraint("case_id", "role", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_role_state"), "reviews", ["role", "state"])


def _trained() -> None:
    op.create_table(
        "training_runs",
        _text("id"),
        _text("model_id"),
        _text("model_version"),
        _text("model_sha256"),
        _text("state"),
        _json("settings"),
        _json("cases"),
        sa.Column("result", sa.JSON(), nullable=True),
        _text("annotator"),
        _moment("started"),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'kept', 'refused', 'cancelled', 'failed')",
            name=op.f("ck_training_runs_state"),
        ),
        sa.ForeignKeyConstraint(
            ["model_id", "model_version", "model_sha256"],
            ["models.id", "models.version", "models.sha256"],
            name=op.f("fk_training_runs_model_id_model_version_model_sha256"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_runs")),
    )
    op.create_table(
        "audit",
        _number("id"),
        _moment("at"),
        _text("who"),
        _text("action"),
        _text("case_id", True),
        _text("subject", True),
        sa.Column("voxels", sa.BigInteger(), nullable=True),
        _text("model_id", True),
        _text("model_version", True),
        _text("model_sha256", True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        _json("details"),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_audit_case_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_case_id_id"), "audit", ["case_id", "id"])
