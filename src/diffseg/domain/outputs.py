"""Several files into one folder: all of them or none, and nothing of others lost.

Files are written aside, into a hidden folder within the output folder, and
renamed once all of them are complete. A manifest (a JSON object) comes last and
lists them under ``files`` with their checksums: what it lists, unchanged since,
is ours, and only that may ever be replaced.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from diffseg.errors import UserError


def entry(path: Path) -> dict[str, Any]:
    """Name, bytes and sha256 of a file, as a manifest lists it."""
    with path.open("rb") as stream:
        digest = sha256()
        while block := stream.read(2**20):
            digest.update(block)
    return {
        "name": path.name,
        "bytes": path.stat().st_size,
        "sha256": digest.hexdigest(),
    }


def replaceable(
    folder: Path, names: Sequence[str], manifest: str, schema: str, overwrite: bool
) -> frozenset[str]:
    """Names of the files in `folder` that are ours to replace or remove.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        What is about to be written, the manifest left out.
    manifest : str
        Name of the JSON file that lists an earlier run's files.
    schema : str
        Its ``schema``, by which we know it.
    overwrite : bool
        Replace what an earlier run wrote.

    Raises
    ------
    UserError
        A file is in the way that is not ours, or one that is without
        `overwrite`.
    """
    ours = _ours(folder, manifest, schema)
    for name in (*names, manifest):
        if not os.path.lexists(folder / name):
            continue
        if name not in ours:
            raise UserError(
                f"{folder / name} is in the way: no earlier run wrote it, or it was "
                "changed since; move it away or choose another folder"
            )
        if not overwrite:
            raise UserError(
                f"{folder / name} is there from an earlier run; "
                "choose another folder or ask to overwrite (--overwrite)"
            )
    return ours


def probe(folder: Path) -> None:
    """Raise `UserError` where `folder` cannot be created or written into."""
    with told(folder):
        parents = (folder, *folder.absolute().parents)
        there = next(one for one in parents if one.exists())
        with tempfile.TemporaryFile(dir=there):
            pass


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Tell an `OSError` from within as one line about `folder`."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder} is not a folder; choose another one") from None
    except OSError as err:
        raise UserError(
            f"cannot write into {folder}: {err.strerror or err}; "
            "choose a folder with space and the permission to write"
        ) from err


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Make `folder` and a hidden folder in it that is gone afterwards.

    On an error the folders that were made for it are removed again.
    """
    made = [one for one in (folder, *folder.absolute().parents) if not one.exists()]
    hidden: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".diffseg-", dir=folder))
        yield hidden
    except BaseException as err:
        _remove(hidden)
        for one in made:  # innermost first; what others put there meanwhile stays
            with suppress(OSError):
                one.rmdir()
        if isinstance(err, UserError) and hidden is not None:
            line = str(err).replace(str(hidden), str(folder))
            raise UserError(line) from err
        raise
    _remove(hidden)


def move_in(
    hidden: Path, folder: Path, names: Iterable[str], ours: frozenset[str]
) -> None:
    """Rename `names` from `hidden` into `folder`, in that order, replacing `ours`.

    What is ours and not among `names` is removed. On an error everything is put
    back as it was.

    Raises
    ------
    UserError
        A file that is not ours has come into the way meanwhile.
    """
    names, earlier = list(names), hidden / "earlier"
    earlier.mkdir()
    kept: list[str] = []
    placed: list[str] = []
    try:
        for name in sorted(ours):
            os.replace(folder / name, earlier / name)
            kept.append(name)
        for name in names:
            if os.path.lexists(folder / name):
                raise UserError(f"{folder / name} is in the way; move it away")
            os.replace(hidden / name, folder / name)
            placed.append(name)
    except BaseException:
        for name in placed:
            (folder / name).unlink()
        for name in kept:
            os.replace(earlier / name, folder / name)
        raise


def _ours(folder: Path, manifest: str, schema: str) -> frozenset[str]:
    try:
        listed = json.loads((folder / manifest).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    if not isinstance(listed, dict) or listed.get("schema") != schema:
        return frozenset()
    ours = {manifest}
    for one in listed.get("files") or ():
        path = folder / Path(str(one.get("name"))).name  # never outside the folder
        if path.is_file() and not path.is_symlink() and entry(path) == one:
            ours.add(path.name)
    return frozenset(ours)


def _remove(hidden: Path | None) -> None:
    if hidden is not None:
        shutil.rmtree(hidden, ignore_errors=True)
