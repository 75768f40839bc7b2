"""What a measurement says: ours, what it is held against, their ratio, the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement.

    Parameters
    ----------
    what : str
    settings : str
        How ours and the reference were measured, in a sentence or two.
    ours, reference : float, optional
        In `unit`.
    unit : {"s", "GiB"}
    limit : float, optional
        Largest allowed value of `limit_of`.
    limit_of : {"ours", "ratio"}
    fault : str, optional
        What was found to be wrong, whatever the numbers say.
    skipped : str, optional
        Why nothing was measured.
    """

    what: str
    settings: str = ""
    ours: float | None = None
    reference: float | None = None
    unit: Literal["s", "GiB"] = "s"
    limit: float | None = None
    limit_of: Literal["ours", "ratio"] = "ours"
    fault: str | None = None
    skipped: str | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by the reference."""
        if self.ours is None or not self.reference:
            return None
        return self.ours / self.reference

    @property
    def within(self) -> bool | None:
        """Whether the limit is kept; None where there is none, or no number."""
        if self.fault is not None:
            return False
        value = self.ratio if self.limit_of == "ratio" else self.ours
        if self.limit is None or value is None:
            return None
        return value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """The row as ``--json`` prints it."""
        return {
            "what": self.what,
            "ours": self.ours,
            "reference": self.reference,
            "unit": self.unit,
            "ratio": self.ratio,
            "limit": self.limit,
            "limit_of": self.limit_of if self.limit is not None else None,
            "within": self.within,
            "settings": self.settings,
            "fault": self.fault,
            "skipped": self.skipped,
        }


def amount(value: float | None, unit: str) -> str:
    """`value` with its unit and three digits that count; a dash where unknown."""
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} {unit}"


def times(ratio: float | None) -> str:
    """A ratio for a person: ``3.2 x``, or ``1 / 4,000`` where ours is the smaller."""
    if ratio is None:
        return "-"
    if ratio < 0.1:
        return f"1 / {1 / ratio:,.0f}"
    return f"{ratio:.{1 if ratio >= 10 else 2}f} x"


def limit_of(row: Row) -> str:
    """The row's limit in words."""
    if row.limit is None:
        return "-"
    if row.limit_of == "ratio":
        return f"{row.limit:g} x"
    return f"{row.limit:g} {row.unit}"


def verdict(row: Row) -> str:
    """Whether the row keeps its limit, in a word."""
    if row.skipped is not None:
        return "skipped"
    return {True: "kept", False: "BROKEN", None: ""}[row.within]


def table(rows: Sequence[Row], host: str) -> RenderableType:
    """A numbered table, and below it each row's settings under its number."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table

    numbers = Table(box=None, pad_edge=False)
    numbers.add_column("", justify="right")
    numbers.add_column("What")
    for column in ("Ours", "Reference", "Ratio", "Limit"):
        numbers.add_column(column, justify="right", no_wrap=True)
    numbers.add_column("")
    notes = Table(box=None, pad_edge=False, show_header=False)
    notes.add_column(justify="right")
    notes.add_column(overflow="fold")
    for index, row in enumerate(rows, start=1):
        ours = amount(row.ours, row.unit)
        reference = amount(row.reference, row.unit)
        numbers.add_row(
            str(index), row.what, ours, reference, times(row.ratio), limit_of(row),
            verdict(row),
        )  # fmt: skip
        said = (row.settings, row.fault, row.skipped and f"Skipped: {row.skipped}")
        notes.add_row(str(index), " ".join(one for one in said if one))
    return Group(numbers, Padding(notes, (1, 0)), host)
