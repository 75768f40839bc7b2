"""Numbers of an evaluation as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

UNDEFINED = "–"


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """`value` with `digits` decimals; a dash where it is undefined."""
    if value is None:
        return UNDEFINED
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def interval(
    bounds: Sequence[float] | None, digits: int = 3, *, signed: bool = False
) -> str:
    """``low to high``; a dash where there is none."""
    if bounds is None:
        return UNDEFINED
    return " to ".join(number(bound, digits, signed=signed) for bound in bounds)
