"""What the commands of ``diffseg project`` share: arguments, and who is asking."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.errors import UserError

if TYPE_CHECKING:
    from diffseg.project.store import State

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Annotator = Annotated[
    str | None,
    typer.Option(help="Who says so; else your name on this machine."),
]
CaseName = Annotated[str, typer.Argument(metavar="CASE", help="Its name, or its id.")]
Second = Annotated[
    bool, typer.Option("--second", help="Of the second reading, blind to the first.")
]


def slices_of(text: str | None, option: str = "--slices") -> tuple[int, int] | None:
    """Read ``a:b``; None of nothing. `UserError` where it is something else."""
    if text is None:
        return None
    first, colon, stop = text.partition(":")
    if not (colon and first.strip().isdecimal() and stop.strip().isdecimal()):
        raise UserError(f"slices {text!r} are not a:b", option=option)
    return int(first), int(stop)


def state_of(text: str) -> State:
    """Read a review's state; `UserError` tells the known ones."""
    from diffseg.project.store import State

    known = {one.value: one for one in State}
    if text not in known:
        raise UserError(f"state {text!r} is not one of {', '.join(known)}")
    return known[text]


def who(annotator: str | None) -> str:
    """Name of the annotator, as the audit log has it."""
    if annotator is not None and annotator.strip():
        return annotator.strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise UserError(
            "this account has no name; say who you are", option="--annotator"
        ) from None
