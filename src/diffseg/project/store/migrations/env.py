"""What Alembic runs to apply the steps: on the connection that it is handed."""

from __future__ import annotations

from alembic import context

from diffseg.project.store.schema import metadata

# The caller has begun a transaction, in which everything happens or nothing.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
