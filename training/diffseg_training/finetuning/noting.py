"""A run in the project's books, from its begin to whichever end it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from diffseg.errors import Cancelled, DiffsegError
from diffseg.progress import Work
from diffseg.project import store
from diffseg_training.finetuning.begun import AnyJob, Begun
from diffseg_training.finetuning.job import Finetuned
from diffseg_training.lock import alone_in

AnyEnd = TypeVar("AnyEnd", bound=Finetuned)


def iter_noted(begun: Begun[AnyJob], work: Work[AnyEnd]) -> Work[AnyEnd]:
    """Carry a run's work out, alone in its folder, and note how it ends.

    Yields
    ------
    Progress
        The work's own. Closing the generator closes the work, and notes that the run
        was cancelled.
    """
    outcome: store.Outcome = "failed"
    told: dict[str, Any] = {}
    try:
        with alone_in(begun.folder):
            done = yield from work
        outcome, told = done.outcome, _noted(done)
        return done
    except (GeneratorExit, KeyboardInterrupt, Cancelled):
        outcome = "cancelled"
        raise
    except DiffsegError as err:
        told = {"why": str(err)}
        raise
    except Exception as err:
        told = {"why": type(err).__name__}  # its message may name a file
        raise
    finally:
        _ended(begun, outcome, told)


def _noted(done: Finetuned) -> dict[str, Any]:
    """What the project's table of runs keeps of a result."""
    kept = ("model", "sha256", "verdict", "voxels", "steps", "minutes")
    told = done.as_json()
    return {name: told[name] for name in kept}


def _ended(
    begun: Begun[AnyJob], outcome: store.Outcome, told: Mapping[str, Any]
) -> None:
    """Note the end; where a run broke off, what broke it is what is told."""
    try:
        with store.open_project(begun.job.project) as project:
            store.end_run(project, begun.id, outcome, told)
    except DiffsegError:
        if outcome in ("kept", "refused"):
            raise
