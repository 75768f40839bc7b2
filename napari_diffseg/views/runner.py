"""The engine, as presenters see it."""

from __future__ import annotations

from typing import Protocol

from diffseg.engine.events import Job, Listener
from napari_diffseg.views.nouns import Intent


class Ticket(Protocol):
    """A job under way."""

    def cancel(self) -> None:
        """Ask it to stop; returns at once, and its last event is `Stopped`."""


class Runner(Protocol):
    """The engine, as presenters see it: listeners are called in the GUI's thread."""

    def propose(self, job: Job, listener: Listener) -> Ticket:
        """Start a proposal; returns at once."""

    def plan(self, job: Job, listener: Listener) -> Ticket:
        """Start an estimate; returns at once."""

    def warm(self, model: str = "") -> None:
        """Start the worker, and load a model into it; returns at once."""

    @property
    def machine_found(self) -> Intent:
        """Machine."""

    @property
    def state_changed(self) -> Intent:
        """Str: "starting", "ready" or what is wrong, in a line."""
