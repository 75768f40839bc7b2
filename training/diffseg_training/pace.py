"""How far a run is, how fast it goes, and when it tells, saves and validates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from diffseg_training.recipe_parts import Length


@dataclass(slots=True)
class Pace:
    """Counts and minutes of a run; validation and earlier sittings apart.

    Attributes
    ----------
    step, images : int
        Steps taken and examples shown, in all sittings.
    minutes : float
        Of training, without validations, in all sittings.
    waited : float
        Of them, minutes in which a step waited for its examples.
    """

    length: Length
    minutes: float = 0.0
    waited: float = 0.0
    step: int = 0
    images: int = 0
    first_minutes: float = 0.0
    first_images: int = 0
    saved_minutes: float = 0.0

    def share(self) -> float:
        """Finished share of the run."""
        if self.length.steps is not None:
            return self.step / self.length.steps
        return self.minutes / self.length.minutes

    def next_validation(self) -> float:
        """Share of the run at which it validates next."""
        total = self.length.validations
        return min(1.0, (math.floor(self.share() * total + 1e-6) + 1) / total)

    def telling(self) -> bool:
        """Whether a line of the log is due."""
        return self.step % self.length.log_steps == 0

    def saving(self) -> bool:
        """Whether a state is due besides those at validations."""
        late = self.minutes - self.saved_minutes
        return self.telling() and late >= self.length.checkpoint_minutes

    def speed(self) -> float:
        """Images per second in this sitting."""
        minutes = self.minutes - self.first_minutes
        return (self.images - self.first_images) / (60 * minutes) if minutes else 0.0

    def waiting(self) -> float:
        """Share of this sitting's training that was spent waiting for examples."""
        minutes = self.minutes - self.first_minutes
        return min(1.0, self.waited / minutes) if minutes else 0.0

    def left(self) -> str:
        """How long it may still take, for a person."""
        done = self.share()
        if done <= 0:
            return ""
        minutes = self.minutes / done * (1 - done)
        if minutes >= 90:
            return f"{minutes / 60:.1f} h left"
        return (
            f"{minutes:.0f} min left"
            if minutes >= 1.5
            else f"{60 * minutes:.0f} s left"
        )


@dataclass(slots=True)
class Averages:
    """Terms of the loss since the last line of the log."""

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, terms: Mapping[str, float]) -> None:
        """Count a step's terms in."""
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def taken(self) -> dict[str, float]:
        """The means, and begin anew."""
        means = {name: value / max(1, self.count) for name, value in self.sums.items()}
        self.count, self.sums = 0, {}
        return means
