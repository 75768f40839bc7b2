"""Images become cases: read beside the window, kept in the journal, shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffseg.domain import ImageLabels, LabelTable
from diffseg.errors import DiffsegError, UserError
from diffseg.project.annotation import Annotation
from diffseg.project.journal import InUse
from diffseg.volume import Display, SeriesInfo, Volume, split_paths
from napari_diffseg.presenters.geometry import ForeignImage, volume_of
from napari_diffseg.presenters.ports import Background, JournalPort, Result, told
from napari_diffseg.presenters.reading import (
    of_files,
    one_folder,
    read_image,
    real_paths,
    series_line,
)
from napari_diffseg.session import Busy, Case, Session
from napari_diffseg.views import Canvas, CaseView, Notices

Key = tuple[tuple[str, ...], str | None]
Then = Callable[[Volume], Any]


class Opener:
    """Reads images and makes cases of them.

    Parameters
    ----------
    session : Session
    view : CaseView
        Asked which of several series to open.
    canvas : Canvas
    journal : JournalPort
    notices : Notices
    background : Background
        Reads voxels without making the window wait.
    """

    def __init__(
        self,
        session: Session,
        view: CaseView,
        canvas: Canvas,
        journal: JournalPort,
        notices: Notices,
        background: Background,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._journal = journal
        self._notices = notices
        self._background = background
        self._reading: dict[Key, tuple[str, object]] = {}
        self._busy: Busy | None = None
        self._shelf: list[Case] = []

    def open(self, path: str) -> None:
        """Open an image, or look at it where it is open already.

        Parameters
        ----------
        path : str
            A file or folder; several joined by ";" are channels of one image.
        """
        if not path.strip():
            return
        try:
            names = split_paths(path)
        except UserError as error:
            self._notices.show(str(error), "error")
            return
        if not one_folder(names) and self._seen(names, None):
            return
        self.read(names, self._new_case)

    def read(
        self,
        names: Sequence[str],
        then: Then,
        *,
        series: str | None = None,
        frame: int | None = None,
    ) -> None:
        """Read an image in the background; `then` gets it in the window's thread.

        Asks which of several series; tells in a notice what goes wrong.
        """
        key = (real_paths(names), series)
        if key in self._reading:
            return

        def done(found: Volume | tuple[SeriesInfo, ...]) -> None:
            if isinstance(found, Volume):
                then(found)
            else:
                self._choose_series(names, found, then)

        name = Path(names[0]).name or names[0]
        self._read(key, name, lambda: read_image(names, series, frame), done)

    def give_up(self) -> None:
        """Leave what is being read, if the window says that it reads."""
        if self._busy is not None and self._session.busy is self._busy:
            self.stop()

    def stop(self) -> None:
        """Forget what is being read; nothing of it will open."""
        self._reading.clear()
        self._tell_busy()

    def adopt(self, layer: Any) -> None:
        """Make a case of an image layer that something else has opened.

        Where the layer says which file it came from in our own words, the file
        is opened instead; else its data are taken, and its scale where it has one.
        """
        image: ForeignImage = layer
        said = (image.metadata or {}).get("diffseg")
        origin = said if isinstance(said, Mapping) else {}
        if "case" in origin:
            return  # a layer of ours
        if origin.get("source"):
            names, series = split_paths(origin["source"]), origin.get("series")
            there = self.find(names, series)
            if there is None:
                self.read(names, lambda v: self._new_case(v, layer), series=series)
            else:
                self._replace(there, layer)
            return
        key = ((f"layer {id(layer)}",), None)
        self._read(
            key, image.name, lambda: volume_of(image), lambda v: self._adopted(v, layer)
        )

    def shelve(self, case: Case) -> None:
        """Keep a closed case: opened again, its mask is as it was."""
        self._shelf.append(case)

    def make(
        self,
        volume: Volume,
        *,
        table: LabelTable | None = None,
        labels: ImageLabels | None = None,
        layer: object = None,
        frame: int | None = None,
    ) -> Case:
        """Open a case on a volume that was read, and make it the current one."""
        case = Case(
            volume=volume,
            display=Display.of(volume.grid),
            annotation=Annotation.empty(volume.shape),
            name=self._session.free_name(volume.name),
            layer=layer,
        )
        if labels is not None:
            case.labels = labels
        model = self._session.model
        if table is not None:
            case.table = table
        elif model is not None:
            case.table, case.table_model = model.labels, model.id
        self._keep(case, frame)
        self._session.add(case)
        if case.locked:
            self._notices.show(case.locked, "warning")
        return case

    def _read(
        self,
        key: Key,
        name: str,
        fn: Callable[[], Result],
        then: Callable[[Result], Any],
    ) -> None:
        """Run `fn` in the background, busy meanwhile; `then` unless given up."""
        token = object()
        self._reading[key] = (name, token)
        self._tell_busy()

        def finished() -> bool:
            wanted = self._reading.get(key, (name, None))[1] is token
            if wanted:
                del self._reading[key]
                self._tell_busy()
            return wanted

        def done(result: Result) -> None:
            if finished():
                then(result)

        def failed(error: Exception) -> None:
            if finished():
                self._notices.show(told(error), "error")

        self._background(fn, done, failed)

    def _new_case(self, volume: Volume, layer: Any = None) -> None:
        source = volume.source
        there = self.find(source.paths, source.series_uid)
        if there is not None and layer is not None:
            self._replace(there, layer)
        elif not self._seen(source.paths, source.series_uid):
            self.make(volume, layer=layer)

    def _replace(self, case: Case, layer: Any) -> None:
        """Show an open case in place of a layer that is another one of it."""
        self._canvas.replace_image(case, layer)
        self._session.choose(case.id)

    def _adopted(self, volume: Volume, layer: Any) -> None:
        case = self.make(volume, layer=layer)
        if not volume.grid.has_spacing:
            self._notices.show(
                f"{case.name} came without millimetres; give the spacing under Case, "
                "if you know it",
                "warning",
            )

    def _keep(self, case: Case, frame: int | None) -> None:
        try:
            self._journal.open(
                case.id,
                name=case.name,
                volume=case.volume,
                annotation=case.annotation,
                table=case.table,
                labels=case.labels,
                frame=frame,
            )
        except InUse as error:
            case.locked = str(error)
        except (DiffsegError, OSError) as error:
            self._notices.show(f"strokes are not kept on disk: {told(error)}", "error")

    def find(self, names: Sequence[str], series: str | None) -> Case | None:
        """The open case of these files, or None."""
        return of_files(self._session.cases, names, series)

    def _seen(self, names: Sequence[str], series: str | None) -> bool:
        case = self.find(names, series)
        if case is not None:
            self._session.choose(case.id)
            self._notices.show(f"{case.name} is open already")
            return True
        shelved = of_files(self._shelf, names, series)
        if shelved is None:
            return False
        self._shelf.remove(shelved)
        shelved.name = self._session.free_name(shelved.name)
        self._session.add(shelved)
        self._notices.show(f"{shelved.name} is open again, with its strokes")
        return True

    def _choose_series(
        self, names: Sequence[str], found: tuple[SeriesInfo, ...], then: Then
    ) -> None:
        index = self._view.ask_series([series_line(info) for info in found])
        if index is not None:
            self.read(names, then, series=found[index].uid)

    def _tell_busy(self) -> None:
        now = self._session.busy
        if now is not None and now is not self._busy:
            return  # a proposal has the word
        names = ", ".join(name for name, _ in self._reading.values())
        self._busy = Busy("", f"reading {names} ...") if names else None
        if now is not self._busy:
            self._session.set_busy(self._busy)
