"""Options that every training on a project has, and how they are read."""

from __future__ import annotations

from typing import Annotated

import typer

PATIENT = r"^(sub-[A-Za-z0-9]+)"

HoldOut = Annotated[
    str | None,
    typer.Option(metavar="CASE,...", help="To judge by; else drawn by the seed."),
]
Tolerance = Annotated[
    float | None,
    typer.Option(help="Dice that a held-out class may lose; else the recipe's."),
]
OverallTolerance = Annotated[
    float | None,
    typer.Option(help="Dice that the classes' mean may lose; else the recipe's."),
]
Patient = Annotated[
    str, typer.Option(metavar="REGEX", help="Its group is the patient's name.")
]
Seed = Annotated[int, typer.Option(help="Every random number follows.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run that was broken off.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def names_of(text: str | None) -> tuple[str, ...]:
    """Names that are joined by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
