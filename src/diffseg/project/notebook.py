"""One case's folder in the journal: records in order, and a base now and then."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.project.annotation import Annotation
from diffseg.project.facts import FILE, CaseFacts, write_facts
from diffseg.project.records import (
    DamagedError,
    Dense,
    Header,
    Kind,
    Payload,
    read_header,
    write_record,
)
from diffseg.project.shadow import LARGEST_SLAB, Shadow

MOST_RECORDS = 256
"""So many records since the last base want a new one: reading them takes time."""
LEAST_BYTES = 2 * 2**20
"""Below this, records are not worth a new base, however many times its size."""
LARGEST_SHARE = 2.0
"""Records that outweigh the last base so many times want a new one."""
_NAME = re.compile(r"(\d{8})\.(strokes|base|proposed)")

Files = dict[int, Path]


def files_of(folder: Path, kind: Kind) -> Files:
    """Records of a kind by their sequence number, rising."""
    found: Files = {}
    for path in sorted(folder.glob(f"*.{kind}")):
        match = _NAME.fullmatch(path.name)
        if match:
            found[int(match[1])] = path
    return found


class Notebook:
    """Keeps one case on disk. Only one thread may use it at a time.

    Parameters
    ----------
    folder : Path
        Of this case alone.
    facts : CaseFacts
    annotation : Annotation
        Looked at now, and whenever `keep` is called; may be drawn upon at any time.
    largest : int
        Voxels that are compared in one go.
    """

    def __init__(
        self,
        folder: Path,
        facts: CaseFacts,
        annotation: Annotation,
        largest: int = LARGEST_SLAB,
    ) -> None:
        self.folder = folder
        self.annotation = annotation
        self._facts = facts
        self._facts_kept = False
        self._shadow = Shadow(facts.grid.shape, largest)
        # What a project's case is opened with is in the project already.
        self._shadow.start(annotation, safe=facts.origin is not None)
        self._proposed: NDArray[np.uint8] | None = None
        self._sequence = 0
        self._records = self._bytes = self._base_bytes = 0

    @property
    def facts(self) -> CaseFacts:
        """What is noted beside the voxels."""
        return self._facts

    @facts.setter
    def facts(self, facts: CaseFacts) -> None:
        self._facts, self._facts_kept = facts, False

    @property
    def voxels(self) -> int:
        """Voxels that have changed since the case was opened, or were touched."""
        return self._shadow.voxels

    @property
    def worth_keeping(self) -> bool:
        """Whether something was drawn or proposed that no exported file holds."""
        return self.voxels > 0 and self._facts.exported != self._sequence

    def keep(self) -> float | None:
        """Write what has changed since the last time.

        Returns
        -------
        float or None
            Seconds since the epoch before which everything is kept, if
            something was written.

        Raises
        ------
        UserError
            It cannot be written; the next call tries it again.
        """
        if not (self.folder / FILE).exists():
            if self._sequence:  # someone emptied the folder of a living case
                self._shadow.kept(False)
            self._facts_kept, self._proposed = False, None
        if not self._facts_kept:
            if not self._facts.stamps:
                self._facts = self._facts.stamped()
            write_facts(self.folder, self._facts)
            self._facts_kept = True
        began = time.time()
        payload = self._shadow.look(self.annotation)
        if payload is None:
            return None
        path = self._path("strokes", self._sequence + 1)
        size = write_record(
            path, self._header("strokes", began, self._sequence + 1), payload
        )
        self._shadow.kept()
        self._sequence += 1
        self._records += 1
        self._bytes += size
        return began

    def mark_exported(self) -> None:
        """Note that a file of the user's holds all that was drawn so far."""
        self.keep()
        self.facts = replace(self._facts, exported=self._sequence)
        self.keep()

    def mark_closed(self) -> None:
        """Note that the window was closed in order."""
        self.facts = replace(self._facts, closed=True)
        self.keep()

    @property
    def has_chores(self) -> bool:
        """Whether something is due that is not urgent."""
        return self._proposal_is_new or self._wants_base

    def chores(self) -> Iterator[None]:
        """Do what is due and not urgent, a little between two yields.

        `keep` may be called at each yield.

        Raises
        ------
        UserError
            The disk does not take it; nothing is lost.
        """
        if self._proposal_is_new:
            yield from self._keep_proposed()
        if self._wants_base:
            yield from self._renew_base()

    @property
    def _proposal_is_new(self) -> bool:
        return self.annotation.proposed is not self._proposed

    @property
    def _wants_base(self) -> bool:
        share = max(LEAST_BYTES, LARGEST_SHARE * self._base_bytes)
        return self._records > MOST_RECORDS or self._bytes > share

    def _keep_proposed(self) -> Iterator[None]:
        proposed = self.annotation.proposed
        earlier = files_of(self.folder, "proposed")
        if proposed is not None:
            payload = Payload()
            for slab in self._shadow.slabs:
                values = np.array(proposed[slab.box], np.uint8).reshape(-1)
                payload.add(Dense(slab.start, values, np.zeros(0, np.uint8)))
                yield
            number = max(earlier, default=0) + 1
            header = self._header("proposed", time.time(), number)
            write_record(self._path("proposed", number), header, payload)
        _remove(earlier)
        self._proposed = proposed

    def _renew_base(self) -> Iterator[None]:
        # Strokes kept between two yields may or may not be in the base. They
        # are in records of a higher number, which set voxels once more.
        covered, records, size = self._sequence, self._records, self._bytes
        header = self._header("base", time.time(), covered)
        payload = Payload()
        for slab in self._shadow.slabs:
            payload.add(self._shadow.dense(slab))
            yield
        path = self._path("base", covered)
        written = write_record(path, header, payload)
        yield
        try:
            read_header(path)
        except DamagedError as err:
            path.unlink(missing_ok=True)
            raise UserError(f"{path} does not read as it was written: {err}") from err
        self._base_bytes = written
        self._records -= records
        self._bytes -= size
        bases, strokes = (files_of(self.folder, kind) for kind in ("base", "strokes"))
        _remove({number: bases[number] for number in bases if number < covered})
        _remove({number: strokes[number] for number in strokes if number <= covered})

    def _header(self, kind: Kind, when: float, sequence: int) -> Header:
        return Header(kind, sequence, when, self.voxels, self._shadow.shape)

    def _path(self, kind: Kind, sequence: int) -> Path:
        return self.folder / f"{sequence:08}.{kind}"


def _remove(files: Files) -> None:
    for path in files.values():
        path.unlink(missing_ok=True)
