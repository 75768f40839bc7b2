"""A volume that was read becomes a case: named, kept in the journal, current."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffseg.domain import ImageLabels, LabelTable
from diffseg.errors import DiffsegError
from diffseg.project.annotation import Annotation
from diffseg.project.entries import Loaded
from diffseg.project.facts import Stamp
from diffseg.project.journal import InUse
from diffseg.volume import Display, Volume
from napari_diffseg.presenters.ports import JournalPort, told
from napari_diffseg.presenters.reading import real_paths, stamps_of
from napari_diffseg.presenters.tables import key_of
from napari_diffseg.session import Case, Entry, Session
from napari_diffseg.views import Notices

Stamps = tuple[Stamp | None, ...]


class CaseMaker:
    """Makes cases, and remembers what their files were when they were read.

    Parameters
    ----------
    session : Session
    journal : JournalPort
    notices : Notices
    """

    def __init__(
        self, session: Session, journal: JournalPort, notices: Notices
    ) -> None:
        self._session = session
        self._journal = journal
        self._notices = notices
        self._stamps: dict[tuple[str, ...], Stamps] = {}

    def stamp(self, names: Sequence[str]) -> None:
        """Note what these files are now, just before they are read; in any thread."""
        self._stamps[real_paths(names)] = stamps_of(names)

    def stamps_of(self, volume: Volume) -> Stamps:
        """What a volume's files were when they were read, one stamp a path."""
        names = volume.source.paths
        return self._stamps.get(real_paths(names)) or stamps_of(names)

    def make(
        self,
        volume: Volume,
        *,
        table: LabelTable | None = None,
        labels: ImageLabels | None = None,
        layers: Sequence[object] = (),
        frame: int | None = None,
    ) -> Case:
        """Open a case on a volume that was read, and make it the current one."""
        case = Case(
            volume=volume,
            display=Display.of(volume.grid),
            annotation=Annotation.empty(volume.shape),
            name=self._session.free_name(volume.name),
            layers=tuple(layers),
            stamps=self.stamps_of(volume),
        )
        if labels is not None:
            case.labels = labels
        model = self._session.model
        if table is not None:
            case.table = table
        elif model is not None:
            case.table, case.model_table = model.labels, model.labels
            case.table_model = key_of(model)
        self._keep(case, frame)
        self._session.add(case)
        if case.locked:
            self._notices.show(case.locked, "warning")
        return case

    def take(self, loaded: Loaded, entry: Entry, lost: Case | None = None) -> Case:
        """Open a project's case as it was left, and make it the current one.

        `lost` is the same case as it was closed before, where it was not saved.
        """
        note = Annotation(loaded.values, loaded.touched)
        if loaded.proposal is not None:
            note.proposed = loaded.proposal.mask
        if lost is not None and lost.annotation.values.shape == note.values.shape:
            note = lost.annotation
        model = self._session.model
        case = Case(
            volume=loaded.volume,
            display=Display.of(loaded.volume.grid),
            annotation=note,
            name=self._session.free_name(loaded.name),
            labels=loaded.labels,
            proposal=loaded.proposal,
            locked=loaded.locked or None,
            stamps=self.stamps_of(loaded.volume),
            unsaved=lost is not None,
            entry=entry,
        )
        if loaded.table is not None:
            case.table = loaded.table
        elif model is not None:
            case.table, case.model_table = model.labels, model.labels
            case.table_model = key_of(model)
        if not case.locked:
            self._keep(case, loaded.frame)
        self._session.add(case)
        return case

    def _keep(self, case: Case, frame: int | None) -> None:
        more: dict[str, Any] = {}
        if case.entry is not None:
            more["origin"] = case.entry.origin
        try:
            self._journal.open(
                case.id,
                name=case.name,
                volume=case.volume,
                annotation=case.annotation,
                table=case.table,
                labels=case.labels,
                frame=frame,
                **more,
            )
        except InUse as error:
            case.locked = str(error)
        except (DiffsegError, OSError) as error:
            self._notices.show(f"strokes are not kept on disk: {told(error)}", "error")
