"""A sign of life of a training run, with what a live curve shows. Loads light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffseg.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning(Progress):
    """How far a run is, and how well it goes.

    Parameters
    ----------
    step : int
        Steps taken, in all sittings.
    loss : float, optional
        Mean over the latest steps; None before the first.
    scores : mapping of name to float
        Of a validation: mean Dice of each class, and what weights are chosen by as
        `score`. Empty between validations.
    """

    step: int
    loss: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
