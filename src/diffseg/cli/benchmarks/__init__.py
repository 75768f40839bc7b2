"""What ``diffseg bench`` measures: one file a kind of measurement."""

from diffseg.cli.benchmarks.rows import Row, table

__all__ = ["Row", "table"]
