"""Write aside, then rename: a file is whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from diffseg.errors import UserError


def atomic_write(path: str | Path, writer: Callable[[Path], object]) -> Path:
    """Call `writer` with a temporary path in the same folder, then rename.

    The temporary name ends as `path` does, so that writers which look at
    suffixes work. The folder is made if it is missing. On any error the
    temporary file is removed and `path` is as it was before.

    Raises
    ------
    UserError
        The folder cannot be made or written to, or is full.
    """
    target = Path(path)
    aside = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writer(aside)
        _flush(aside)
        os.replace(aside, target)
        _flush(target.parent)
    except OSError as err:
        reason = err.strerror or str(err)
        raise UserError(
            f"cannot write {target.name} into {target.parent}: {reason}; "
            "choose a folder that is writable and has space"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return target


def atomic_write_bytes(path: str | Path, payload: bytes) -> Path:
    """Write `payload` to `path` by way of `atomic_write`."""

    def write(aside: Path) -> None:
        aside.write_bytes(payload)

    return atomic_write(path, write)


def _flush(path: Path) -> None:
    """Force a file, or the entry of a file in its folder, onto the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
