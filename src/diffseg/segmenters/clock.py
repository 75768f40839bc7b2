"""Seconds of a proposal, by stage."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from diffseg.progress import Result, Work, within


@dataclass(slots=True)
class Clock:
    """Seconds spent so far in each stage."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("load", "prepare", "sample", "write"), 0.0
        )
    )

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Count what happens within as a part of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def timed(self, name: str, work: Work[Result]) -> Work[Result]:
        """Carry `work` on as a part of a stage: what its reader does is none."""
        return within(partial(self.stage, name), work)
