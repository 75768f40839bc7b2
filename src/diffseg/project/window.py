"""One window's place in the journal: its folder, its lock, and its images' locks."""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import uuid4

from filelock import BaseFileLock

from diffseg.project.facts import CaseFacts
from diffseg.project.locks import (
    InUse,
    drop,
    guard,
    prepare,
    remove_case,
    remove_window,
    source_lock,
    take,
)


class Window:
    """Says to other processes that this window lives and which images it has.

    Parameters
    ----------
    folder : Path
        Of the journal; made when the first case is opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = uuid4().hex
        self._lock: BaseFileLock | None = None
        self._sources: dict[str, Path] = {}
        self._locks: dict[Path, BaseFileLock] = {}
        # Between the threads of this process; `guard` is between processes.
        self._mutex = threading.RLock()

    def new_case(self) -> Path:
        """Folder for a case, not made yet; its name tells nothing."""
        return self.folder / "windows" / self.id / uuid4().hex[:12]

    def enter(self) -> None:
        """Take this window's place, if it has none yet; `OSError` if it cannot."""
        with self._mutex:
            if self._lock is not None:
                return
            prepare(self.folder)
            with guard(self.folder):
                # The lock first: a folder without one is a dead window's.
                lock = take(self.folder / "windows" / f"{self.id}.lock")
                (self.folder / "windows" / self.id).mkdir(mode=0o700, exist_ok=True)
            self._lock = lock

    def take_source(self, case_id: str, facts: CaseFacts) -> None:
        """Be the only window that has this image open.

        Raises
        ------
        InUse
            Another one has it open.
        OSError
            The journal's folder cannot be written to.
        """
        self.enter()
        if not facts.paths:
            return
        path = source_lock(self.folder, facts.paths, facts.series)
        with self._mutex, guard(self.folder):
            if path not in self._locks:
                lock = take(path)
                if lock is None:
                    raise InUse(
                        f"{facts.name} is open in another window; close it there "
                        "to correct it here"
                    )
                self._locks[path] = lock
            self._sources[case_id] = path

    def remove(self, case_id: str, case: Path) -> None:
        """Remove a case's folder and give its image back; `OSError` if it cannot."""
        if self._lock is None:
            return
        with self._mutex, guard(self.folder):
            self._give_back(case_id)
            remove_case(case)

    def leave(self) -> None:
        """Give every lock back; what is in the folder are leftovers now."""
        if self._lock is None:
            return
        with self._mutex, guard(self.folder):
            for case_id in list(self._sources):
                self._give_back(case_id)
            self._lock.release(force=True)
            self._lock = None
            remove_window(self.folder, self.id)

    def _give_back(self, case_id: str) -> None:
        path = self._sources.pop(case_id, None)
        if path is not None and path not in self._sources.values():
            drop(self._locks.pop(path))
