"""The window's own journal and the open project's, used as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffseg.domain import ImageLabels, LabelTable
from diffseg.errors import UserError
from diffseg.project.annotation import Annotation
from diffseg.project.entries import Origin
from diffseg.project.journal import Journal
from diffseg.project.keeper import OnKept, OnTrouble
from diffseg.project.leftovers import Leftover
from diffseg.project.replay import Restored
from diffseg.volume import Volume


class Journals:
    """Keeps each case where it belongs: a project's in the project's folder.

    Parameters
    ----------
    own : Journal
        Of images that belong to no project.
    """

    def __init__(self, own: Journal) -> None:
        self._own = own
        self._projects: Journal | None = None
        self._of: dict[str, Journal] = {}
        self._left: dict[str, Journal] = {}

    @property
    def on_kept(self) -> OnKept | None:
        """Told whenever strokes were written."""
        return self._own.on_kept

    @on_kept.setter
    def on_kept(self, listener: OnKept | None) -> None:
        for one in self._all:
            one.on_kept = listener

    @property
    def on_trouble(self) -> OnTrouble | None:
        """Told what is wrong."""
        return self._own.on_trouble

    @on_trouble.setter
    def on_trouble(self, listener: OnTrouble | None) -> None:
        for one in self._all:
            one.on_trouble = listener

    def enter(self, folder: Path) -> None:
        """Keep the strokes of a project's cases in its journal's folder."""
        self.leave()
        self._projects = Journal(
            folder, on_kept=self._own.on_kept, on_trouble=self._own.on_trouble
        )

    def leave(self) -> None:
        """Let go of the project's journal; what is not saved stays in it."""
        gone, self._projects = self._projects, None
        if gone is not None:
            gone.close()
            self._of = {key: one for key, one in self._of.items() if one is not gone}
            self._left = {k: one for k, one in self._left.items() if one is not gone}

    def open(
        self,
        case_id: str,
        *,
        name: str,
        volume: Volume,
        annotation: Annotation,
        table: LabelTable,
        labels: ImageLabels,
        frame: int | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Begin to keep a case; see `Journal.open`."""
        journal = self._own if origin is None else self._projects
        if journal is None:
            raise UserError("the project was closed meanwhile")
        journal.open(
            case_id,
            name=name,
            volume=volume,
            annotation=annotation,
            table=table,
            labels=labels,
            frame=frame,
            origin=origin,
        )
        self._of[case_id] = journal

    def note(self, case_id: str) -> None:
        """Voxels may have changed."""
        if case_id in self._of:
            self._of[case_id].note(case_id)

    def replace(self, case_id: str, **what: Any) -> None:
        """Note that something of a case is another one now; see `Journal.replace`."""
        if case_id in self._of:
            self._of[case_id].replace(case_id, **what)

    def flush(self, case_id: str | None = None) -> bool:
        """Write what is not yet on disk; whether all of it is."""
        if case_id is None:
            done = [one.flush() for one in self._all]  # each of them, whatever comes
            return all(done)
        return case_id in self._of and self._of[case_id].flush(case_id)

    def exported(self, case_id: str) -> bool:
        """A file, or the project, holds the mask as it is now."""
        return case_id in self._of and self._of[case_id].exported(case_id)

    def forget(self, case_id: str) -> None:
        """Keep nothing of a case that was closed in order."""
        journal = self._of.pop(case_id, None)
        if journal is not None:
            journal.forget(case_id)

    def close(self) -> None:
        """Write everything and let go of the files."""
        self.leave()
        self._own.close()

    def leftovers(self) -> tuple[Leftover, ...]:
        """What earlier windows left behind outside of projects."""
        return self._found(self._own)

    def project_leftovers(self) -> tuple[Leftover, ...]:
        """What earlier windows left behind in the open project."""
        return self._found(self._projects) if self._projects is not None else ()

    def restore(self, id: str) -> Restored:
        """Read a leftover; it stays until it is discarded."""
        return self._left.get(id, self._own).restore(id)

    def discard(self, id: str) -> None:
        """Throw a leftover away."""
        self._left.get(id, self._own).discard(id)

    @property
    def _all(self) -> tuple[Journal, ...]:
        return (self._own, *([self._projects] if self._projects is not None else []))

    def _found(self, journal: Journal) -> tuple[Leftover, ...]:
        found = journal.leftovers()
        self._left.update({one.id: journal for one in found})
        return found
