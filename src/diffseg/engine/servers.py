"""Dask's scheduler and worker without the page that each would serve over HTTP.

That page tells anybody on the machine what runs. Imported once an engine starts.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker


class SilentScheduler(Scheduler):
    """A scheduler that is spoken to over its encrypted connections only."""

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Serve nothing."""


class SilentWorker(Worker):
    """A worker that is spoken to over its encrypted connections only."""

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Serve nothing."""
