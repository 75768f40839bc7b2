"""Which version of a model is meant where none is named.

The newest, unless a file ``current`` in the model's folder among the user's says
otherwise. It is written by fine-tuning and by going back, aside and renamed; a version
that is added later takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffseg.errors import UserError
from diffseg.models.folder import ModelFolder
from diffseg.volume.atomic import atomic_write_bytes

POINTER = "current"


def current_version(folder: Path) -> str | None:
    """Version that the pointer in a model's folder names; None without one.

    Raises
    ------
    UserError
        It cannot be read.
    """
    file = folder / POINTER
    try:
        said = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise UserError(f"{file} cannot be read ({reason}); remove it") from None
    return said or None


def set_current(folder: Path, version: str) -> None:
    """Let a version be the one that is meant; `UserError` if it cannot be written."""
    atomic_write_bytes(folder / POINTER, f"{version}\n".encode())


def clear_current(folder: Path) -> None:
    """Let the newest version be the one that is meant.

    Raises
    ------
    UserError
        The pointer cannot be removed.
    """
    try:
        (folder / POINTER).unlink(missing_ok=True)
    except OSError as err:
        raise UserError(
            f"{folder / POINTER} cannot be removed ({err.strerror})"
        ) from None


def chosen(folder: Path, versions: Sequence[ModelFolder]) -> ModelFolder:
    """The version that is meant, of those of one model, the newest last.

    Raises
    ------
    UserError
        The pointer names a version that is not here.
    """
    wanted = current_version(folder)
    if wanted is None:
        return versions[-1]
    found = [one for one in versions if one.card.version == wanted]
    if not found:
        id = versions[-1].card.id
        known = ", ".join(one.card.version for one in versions)
        raise UserError(
            f"version {wanted} of model {id}, which {folder / POINTER} names, is not "
            f"here; choose one of {known} with: diffseg models rollback {id}@VERSION"
        )
    return found[-1]
