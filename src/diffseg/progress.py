"""Long work is a generator that yields `Progress` and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """One sign of life of a long piece of work.

    Parameters
    ----------
    stage : str
        What is being done, in the user's words ("sample", "prepare").
    done, total : int
        How many of how many units of the stage are finished.
    message : str
        One line for a log or a status bar; may be empty.
    under_way : float
        How much of the units that are not finished is done, in units.
    detail : str
        What is under way, in words that change often; may be empty.
    """

    stage: str
    done: int = 0
    total: int = 0
    message: str = ""
    under_way: float = 0.0
    detail: str = ""

    @property
    def fraction(self) -> float:
        """Finished share of the stage in [0, 1]; 0 while the total is unknown."""
        done = self.done + self.under_way
        return min(done / self.total, 1.0) if self.total else 0.0

    def sign(self) -> dict[str, Any]:
        """What stands in it by name, without what kinds of it carry beside."""
        return {one.name: getattr(self, one.name) for one in fields(Progress)}


Work = Generator[Progress, None, Result]
"""A piece of long work: yields `Progress`, returns its result."""


def run(
    work: Work[Result],
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Run `work` to its end here and now, and return its result."""
    while True:
        try:
            progress = next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        if on_progress is not None:
            on_progress(progress)


def finished(work: Generator[object, None, Result]) -> Result:
    """Carry `work` to its end, whatever it yields, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def told_as(work: Work[Result], progress: Progress) -> Work[Result]:
    """Carry `work` on with one sign of life in the place of its own.

    For work in cases, of which nobody counts a model's stages.
    """
    try:
        while True:
            next(work)
            yield progress
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        work.close()


def within(
    enter: Callable[[], AbstractContextManager[object]], work: Work[Result]
) -> Work[Result]:
    """Carry `work` on within a context, which its reader is not in between."""
    try:
        while True:
            with enter():
                try:
                    progress = next(work)
                except StopIteration as stop:
                    result: Result = stop.value
                    return result
            yield progress
    finally:
        work.close()
