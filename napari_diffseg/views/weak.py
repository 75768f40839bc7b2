"""What weak masks could teach a segmenter, as the panel shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WeakState:
    """What the masks of a weak model would be learnt with, or why they cannot be.

    Parameters
    ----------
    recipes : tuple of str
        Of segmenters that could learn from them.
    line : str
        What would be learnt from, in a line.
    why_not : str
        Why it cannot start; "" where it can.
    weak : bool
        Whether the chosen model is a weak one; of another nothing is shown.
    """

    recipes: tuple[str, ...] = ()
    line: str = ""
    why_not: str = ""
    weak: bool = True
