"""What windows that are gone left behind: find it, throw it away."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from diffseg.errors import UserError
from diffseg.project.facts import CaseFacts, read_facts
from diffseg.project.locks import guard, remove_case, remove_window, take
from diffseg.project.notebook import files_of
from diffseg.project.records import DamagedError, Header, read_header

_ID = re.compile(r"([0-9a-f]{32})-([0-9a-f]{12})")
NAMELESS = "a case whose name is lost"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Corrections that an earlier window left behind.

    Parameters
    ----------
    id : str
        What `restore` and `discard` take.
    name : str
        Of the case, as it was shown.
    when : datetime
        Until when it was kept; in local time.
    voxels : int
        Voxels that were changed.
    paths : tuple of str
        Of the image; () if it came from memory.
    closed : bool
        The window was closed in order; otherwise it died.
    """

    id: str
    name: str
    when: datetime
    voxels: int
    paths: tuple[str, ...]
    closed: bool


def find_leftovers(folder: Path, own: str) -> tuple[Leftover, ...]:
    """Find what is worth offering; what is not, is removed. The newest first.

    Parameters
    ----------
    folder : Path
        Of the journal.
    own : str
        The window that asks; never a leftover.

    Raises
    ------
    OSError
        The folder cannot be read or written to.
    """
    found: list[Leftover] = []
    if not folder.is_dir():
        return ()
    with guard(folder):
        for window in sorted((folder / "windows").glob("*")):
            if window.name == own or not window.is_dir():
                continue
            with dead_window(window) as dead:
                if dead:
                    found += _sift(window)
            if dead:
                remove_window(folder, window.name)
    return tuple(sorted(found, key=lambda leftover: leftover.when, reverse=True))


def remove_leftover(folder: Path, id: str) -> None:
    """Throw a leftover away; one that is gone already is no error.

    Raises
    ------
    UserError
        `id` is none, or its window lives.
    OSError
        The folder cannot be written to.
    """
    case = case_folder(folder, id)
    if not case.exists():
        return
    with guard(folder):
        with dead_window(case.parent) as dead:
            if not dead:
                raise UserError(f"{id} belongs to a window that is open")
            remove_case(case)
        remove_window(folder, case.parent.name)


def case_folder(folder: Path, id: str) -> Path:
    """Folder of a leftover's case; `UserError` if `id` cannot be one."""
    match = _ID.fullmatch(id)
    if match is None:
        raise UserError(f"{id!r} is no leftover; give an id that `leftovers` gave")
    return folder / "windows" / match[1] / match[2]


@contextmanager
def dead_window(window: Path) -> Iterator[bool]:
    """Whether a window's process is gone; nobody can be that window meanwhile."""
    lock = take(window.with_name(f"{window.name}.lock")) if window.is_dir() else None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release(force=True)


def _sift(window: Path) -> Iterator[Leftover]:
    for case in sorted(path for path in window.glob("*") if path.is_dir()):
        if case.name.startswith("."):  # was being removed
            shutil.rmtree(case, ignore_errors=True)
            continue
        leftover = _leftover(case)
        if leftover is not None:
            yield leftover
        else:
            remove_case(case)


def _leftover(case: Path) -> Leftover | None:
    try:
        facts: CaseFacts | None = read_facts(case)
    except DamagedError:
        facts = None
    files = [*files_of(case, "base").items(), *files_of(case, "strokes").items()]
    if not files:
        return None
    header = None
    for _, path in sorted(files, reverse=True):
        header = _sound_header(path)
        if header is not None:
            break
    if header is not None and (
        not header.voxels or (facts and facts.exported >= header.sequence)
    ):
        return None
    seconds = header.time if header else case.stat().st_mtime
    return Leftover(
        id=f"{case.parent.name}-{case.name}",
        name=facts.name if facts else NAMELESS,
        when=datetime.fromtimestamp(seconds).astimezone(),
        voxels=header.voxels if header else 0,
        paths=facts.paths if facts else (),
        closed=facts.closed if facts else False,
    )


def _sound_header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except DamagedError:
        return None
