"""The engine, as presenters see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from diffseg.engine.events import Advanced, Failed, Job, Listener, Stopped
from diffseg.progress import Work
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


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """The result of a piece of work."""

    result: Any


WorkEvent = Advanced | Done | Failed | Stopped
"""What a piece of work tells; `Done` may still follow `Stopped`."""


class Works(Protocol):
    """Runs generators of `Progress` beside the window, each in a thread of its own."""

    def __call__(
        self, start: Callable[[], Work[Any]], listener: Callable[[WorkEvent], Any], /
    ) -> Ticket:
        """Start a piece of work; returns at once.

        `Stopped` comes as soon as it is cancelled, whatever the work does then. Work
        that had ended by then tells its `Done` after it.
        """
