"""The folder that a training writes into: new, or begun and to be gone on with."""

from __future__ import annotations

import os
from pathlib import Path

from diffseg.errors import UserError


def check_begun(out: Path, begun: bool, resume: bool) -> None:
    """Refuse to begin where a run is, and to go on where there is none; `UserError`."""
    if begun and not resume:
        raise UserError(f"{out} holds a run already: add --resume or name a new folder")
    if resume and not begun:
        raise UserError(f"nothing to resume in {out}: leave out --resume")


def make_folder(out: Path) -> None:
    """Make the folder if it is not there; `UserError` where nothing can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"folder {out} cannot be made: {err.strerror}") from err
    if not os.access(out, os.W_OK):
        raise UserError(f"folder {out} cannot be written: choose another with --out")
