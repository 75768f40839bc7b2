"""What the part "Resample" of panel "Correct" and its presenter tell one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from napari_diffseg.session import Busy
from napari_diffseg.views.nouns import Intent

Keep = Literal["strokes", "drawn", "seen"]
"""What stays as it is, besides each stroke: nothing; slices that were drawn in, or
whose place was accepted; these and all slices that were looked at."""


@dataclass(frozen=True, slots=True)
class Redraw:
    """How the mask is drawn anew around the strokes, as the user chose.

    Parameters
    ----------
    near : bool
        Only the slice that is looked at and its neighbours change; else all around
        the strokes.
    keep : Keep
    level : float, optional
        Noise level in (0, 1]; the model's own without one.
    """

    near: bool = True
    keep: Keep = "drawn"
    level: float | None = None


class ResampleView(Protocol):
    """The part "Resample" of the panel "Correct"."""

    @property
    def run_requested(self) -> Intent:
        """Redraw: draw the mask of the current case anew."""

    @property
    def cancel_requested(self) -> Intent:
        """No argument: stop that."""

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether it can be done, and if not what to do first."""

    def set_busy(self, busy: Busy | None) -> None:
        """Show how far it is, or that nothing of it is under way."""

    def set_slices(self, several: bool, ticked: bool) -> None:
        """Whether there are several slices, and whether those seen are ticked off."""
