"""How an older project's database becomes one of today; run by Alembic on opening."""
