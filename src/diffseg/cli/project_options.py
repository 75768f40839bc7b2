"""What the commands of ``diffseg project`` share: arguments, and who is asking."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from diffseg.errors import UserError

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Annotator = Annotated[
    str | None,
    typer.Option(help="Who says so; else your name on this machine."),
]


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
