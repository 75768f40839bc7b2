"""Corrections are kept on disk while they are made, and offered after a crash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffseg.domain import ImageLabels, LabelTable
from diffseg.models.registry import home
from diffseg.project.annotation import Annotation
from diffseg.project.entries import Origin
from diffseg.project.facts import CaseFacts
from diffseg.project.keeper import Keeper, OnKept, OnTrouble
from diffseg.project.leftovers import Leftover, find_leftovers, remove_leftover
from diffseg.project.locks import InUse
from diffseg.project.notebook import Notebook
from diffseg.project.replay import Restored, read_leftover
from diffseg.project.window import Window
from diffseg.volume import Volume

__all__ = ["InUse", "Journal", "Leftover", "Restored"]


class Journal:
    """Keeps the masks that one window corrects on disk, from a thread of its own.

    A stroke is on disk within about `interval` of its note. A window whose
    process is gone, however it went, leaves its cases as leftovers; a window
    that lives never does. Safe for several windows on one folder.

    Parameters
    ----------
    folder : Path, optional
        ``$DIFFSEG_HOME/journal`` (or the platform's) without it. Made at need.
    interval : float
        Seconds within which strokes are to be kept, > 0.
    on_kept : callable, optional
        Told a case's id and the time up to which it is kept whenever strokes
        were written; on the journal's thread.
    on_trouble : callable, optional
        Told in a line what is wrong, once until it works again; on any thread.
        The journal goes on trying.
    """

    def __init__(
        self,
        folder: Path | None = None,
        interval: float = 1.0,
        on_kept: OnKept | None = None,
        on_trouble: OnTrouble | None = None,
    ) -> None:
        place = Path(folder) if folder is not None else home() / "journal"
        self._window = Window(place)
        self._keeper = Keeper(self._window, interval, on_kept, on_trouble)
        self._closed = False

    @property
    def on_kept(self) -> OnKept | None:
        """Told whenever strokes were written; may be set at any time."""
        return self._keeper.on_kept

    @on_kept.setter
    def on_kept(self, listener: OnKept | None) -> None:
        self._keeper.on_kept = listener

    @property
    def on_trouble(self) -> OnTrouble | None:
        """Told what is wrong; may be set at any time."""
        return self._keeper.on_trouble

    @on_trouble.setter
    def on_trouble(self, listener: OnTrouble | None) -> None:
        self._keeper.on_trouble = listener

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
        """Keep a case from now on; what its mask holds already is no change.

        Voxels that are marked as touched already are: they were drawn, and no
        exported file is known to hold them.

        Parameters
        ----------
        case_id : str
            As the session knows it.
        name : str
            As shown to the user.
        volume : Volume
            The image, of which paths, series, grid and stamps are noted.
        annotation : Annotation
            The arrays that are drawn upon, of the volume's shape.
        table : LabelTable
        labels : ImageLabels
        frame : int, optional
            Of a 4D image.
        origin : Origin, optional
            What of a project it comes from.

        Raises
        ------
        InUse
            Another window has this image open.
        ValueError
            The case is open already, the journal is closed, or shapes differ.
        """
        if self._closed or case_id in self._keeper.books:
            raise ValueError(f"case {case_id} is open, or the journal is closed")
        _require(volume.shape, annotation)
        facts = CaseFacts.of(name, volume, table, labels, frame)
        facts = replace(facts, origin=origin)
        with self._keeper.trouble_told():
            self._window.take_source(case_id, facts)
        book = Notebook(self._window.new_case(), facts, annotation)
        self._keeper.books[case_id] = book
        self._keeper.watch.note(case_id)

    def note(self, case_id: str) -> None:
        """Say that a case's mask may have changed. Cheap; from any thread."""
        if case_id in self._keeper.books:
            self._keeper.watch.note(case_id)

    def replace(
        self,
        case_id: str,
        *,
        table: LabelTable | None = None,
        labels: ImageLabels | None = None,
        name: str | None = None,
        volume: Volume | None = None,
        annotation: Annotation | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Note that something of a case is another one now.

        Raises
        ------
        ValueError
            `volume` or `annotation` has another shape than the case.
        """
        book = self._keeper.books.get(case_id)
        if book is None:
            return
        facts = book.facts
        if volume is not None and volume.shape != facts.grid.shape:
            raise ValueError(f"a grid of {volume.shape} for one of {facts.grid.shape}")
        _require(facts.grid.shape, annotation)
        with self._keeper.watch.still():
            book.facts = replace(
                book.facts,
                name=facts.name if name is None else name,
                grid=facts.grid if volume is None else volume.grid,
                table=facts.table if table is None else table,
                labels=facts.labels if labels is None else labels,
                origin=facts.origin if origin is None else origin,
            )
            book.annotation = annotation or book.annotation
        self._keeper.watch.note(case_id)

    def flush(self, case_id: str | None = None, timeout: float = 10.0) -> bool:
        """Keep a case, or every case, now; wait for it.

        Returns
        -------
        bool
            Whether all that was drawn before is on disk. If not, the case is not
            kept here, or `on_trouble` was told why, or it takes longer than
            `timeout` seconds.
        """
        known = list(self._keeper.books)
        if case_id is not None and case_id not in known:
            return False
        keys = known if case_id is None else [case_id]
        return self._closed or self._keeper.watch.settle(keys, timeout)

    def exported(self, case_id: str) -> bool:
        """Say that a file of the user's holds the mask as it is now.

        Until it is drawn upon again there is nothing to offer. Call it where
        the file was written, before anything else can be drawn.

        Returns
        -------
        bool
            Whether that is noted on disk.
        """
        book = self._keeper.books.get(case_id)
        return book is not None and self._keeper.mark_exported(book)

    def forget(self, case_id: str) -> None:
        """Stop keeping a case and remove what was kept: it was closed in order."""
        self._keeper.remove(case_id)

    def close(self, keep: bool = True) -> None:
        """End it: the window is closed in order.

        Parameters
        ----------
        keep : bool
            Cases with changes that no exported file holds stay as leftovers,
            marked as closed. Otherwise everything is removed.
        """
        if self._closed:
            return
        if keep:
            self.flush()
        self._closed = True
        if not self._keeper.watch.stop():
            return  # the disk hangs; what is kept will be found as after a crash
        for case_id, book in list(self._keeper.books.items()):
            if keep and book.worth_keeping:
                with self._keeper.trouble_told():
                    book.mark_closed()
            else:
                self._keeper.remove(case_id)
        self._keeper.books.clear()
        with self._keeper.trouble_told():
            self._window.leave()

    def leftovers(self) -> tuple[Leftover, ...]:
        """What windows that are gone left behind, the newest first."""
        with self._keeper.trouble_told():
            return find_leftovers(self._window.folder, self._window.id)
        return ()

    def restore(self, id: str) -> Restored:
        """Read a leftover; it stays until it is discarded.

        Raises
        ------
        UserError
            It is not there, or nothing of it can be read.
        """
        try:
            return read_leftover(self._window.folder, id)
        except OSError as err:
            raise self._keeper.unusable(err) from err

    def discard(self, id: str) -> None:
        """Throw a leftover away: the user said so, or its case is kept anew.

        One that is gone already is no error.

        Raises
        ------
        UserError
            `id` is none, or the journal's folder cannot be written to.
        """
        try:
            remove_leftover(self._window.folder, id)
        except OSError as err:
            raise self._keeper.unusable(err) from err


def _require(shape: tuple[int, int, int], annotation: Annotation | None) -> None:
    for array in (annotation.values, annotation.touched) if annotation else ():
        if array.shape != shape:
            raise ValueError(f"a mask of shape {array.shape} on a grid of {shape}")
