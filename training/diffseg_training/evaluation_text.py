"""Numbers of an evaluation as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

UNDEFINED = "–"
_SMALL = 0.001


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """`value` with `digits` decimals; a dash where it is undefined."""
    if value is None:
        return UNDEFINED
    value = round(value, digits) or 0.0  # no sign before what rounds to nothing
    return f"{value:{'+' if signed and value else ''}.{digits}f}".replace("-", "−")


def interval(
    bounds: Sequence[float] | None, digits: int = 3, *, signed: bool = False
) -> str:
    """``low to high``; a dash where there is none."""
    if bounds is None:
        return UNDEFINED
    return " to ".join(number(bound, digits, signed=signed) for bound in bounds)


def p_value(p: float | None) -> str:
    """Three decimals, or that it is below the least of them."""
    if p is not None and p < _SMALL:
        return f"< {_SMALL}"
    return number(p)
