"""Whose reading a correction is, and proposals summed up for the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add a column and a table; summaries are made when they are asked for."""
    role = sa.Column("role", sa.Text(), nullable=False, server_default="first")
    op.add_column("corrections", role)
    op.create_table(
        "summaries",
        sa.Column("proposal", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("numbers", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["proposal"], ["proposals.id"], name=op.f("fk_summaries_proposal")
        ),
        sa.PrimaryKeyConstraint("proposal", name=op.f("pk_summaries")),
    )
