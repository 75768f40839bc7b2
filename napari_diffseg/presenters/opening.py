"""Images become cases: read beside the window, kept in the journal, shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffseg.errors import UserError
from diffseg.project.recent import is_project
from diffseg.volume import SeriesInfo, Volume, split_paths
from napari_diffseg.presenters.geometry import ForeignImage, volume_of
from napari_diffseg.presenters.maker import CaseMaker
from napari_diffseg.presenters.ports import Background, JournalPort
from napari_diffseg.presenters.reading import (
    of_files,
    one_folder,
    read_image,
    real_paths,
    series_line,
    stamps_of,
)
from napari_diffseg.presenters.shelf import Shelf, renew
from napari_diffseg.presenters.under_way import Key, UnderWay
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, CaseView, Notices

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
        self._under_way = UnderWay(session, notices, background)
        self._maker = CaseMaker(session, journal, notices)
        self.make, self.take = self._maker.make, self._maker.take
        self._handed: dict[Key, list[Any]] = {}
        self._shelf = Shelf()
        self.open_project: Callable[[str], Any] | None = None

    def open(self, path: str) -> None:
        """Open an image or a project, or look at it where it is open already.

        Parameters
        ----------
        path : str
            A file or folder; several joined by ";" are channels of one image.
        """
        if not path.strip():
            return
        if self.open_project is not None and is_project(Path(path).expanduser()):
            self.open_project(path)
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
        if key in self._under_way:
            return

        def load() -> Volume | tuple[SeriesInfo, ...]:
            self._maker.stamp(names)  # before: it may change meanwhile
            return read_image(names, series, frame)

        def done(found: Volume | tuple[SeriesInfo, ...]) -> None:
            if isinstance(found, Volume):
                then(found)
            else:
                self._choose_series(names, found, then)

        name = Path(names[0]).name or names[0]
        self._under_way.read(key, name, load, done)

    def give_up(self) -> None:
        """Leave what is being read, if the window says that it reads."""
        if self._under_way.told:
            self.stop()

    def stop(self) -> None:
        """Forget what is being read; nothing of it will open."""
        self._under_way.stop()

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
            if there is not None:
                self._canvas.replace_image(there, layer)
                self._session.choose(there.id)
                return
            # An image of several channels comes as several layers.
            key = (real_paths(names), series)
            self._handed.setdefault(key, []).append(layer)
            self.read(names, lambda v: self._new_case(v, asked=False), series=series)
            return
        key = ((f"layer {id(layer)}",), None)
        self._under_way.read(
            key, image.name, lambda: volume_of(image), lambda v: self._adopted(v, layer)
        )

    def shelve(self, case: Case) -> None:
        """Keep a closed case: opened again, its mask is as it was."""
        self._shelf.put(case)

    def let_go(self, case: Case) -> None:
        """Keep a closed case no longer: a file of the user's holds its mask."""
        if self._shelf.drop(case):
            self._journal.forget(case.id)

    def _new_case(self, volume: Volume, asked: bool = True) -> None:
        """Open what was read: a user `asked` for it, or layers have come of it."""
        source = volume.source
        key = (real_paths(source.paths), source.series_uid)
        handed = self._handed.pop(key, [])
        layers = [layer for layer in handed if self._canvas.holds(layer)]
        if not (asked or layers):
            return  # they were deleted meanwhile
        case = self.find(source.paths, source.series_uid)
        if case is not None:
            self._session.choose(case.id)
        else:
            self._opened(volume, layers)
            return
        if layers:
            self._canvas.replace_image(case, *layers)

    def _opened(self, volume: Volume, layers: Sequence[object]) -> None:
        source = volume.source
        shelved = self._shelf.of_files(source.paths, source.series_uid)
        if shelved is None:
            self.make(volume, layers=layers)
            return
        changed = shelved.stamps != self._maker.stamps_of(volume)
        if not renew(shelved, volume, self._maker.stamps_of(volume)):
            case = self.make(volume, layers=layers)
            self._notices.show(
                f"{case.name} is another image now than the earlier strokes were "
                "made on; these are kept, and offered at the next start",
                "warning",
            )
            return
        self._go_on(shelved, layers)
        if changed:
            self._notices.show(
                f"{shelved.name} has changed on disk; its strokes lie on the image as "
                "it is now",
                "warning",
            )

    def _adopted(self, volume: Volume, layer: Any) -> None:
        if not self._canvas.holds(layer):
            return  # it was deleted while it was read
        shelved = self._shelf.of_voxels(volume)
        if shelved is not None:
            self._go_on(shelved, (layer,))
            return
        case = self.make(volume, layers=(layer,))
        if not volume.grid.has_spacing:
            self._notices.show(
                f"{case.name} came without millimetres; give the spacing under Case, "
                "if you know it",
                "warning",
            )

    def find(self, names: Sequence[str], series: str | None) -> Case | None:
        """The open case of these files, or None."""
        return of_files(self._session.cases, names, series)

    def _seen(self, names: Sequence[str], series: str | None) -> bool:
        case = self.find(names, series)
        if case is not None:
            self._session.choose(case.id)
            self._notices.show(f"{case.name} is open already")
            return True
        shelved = self._shelf.of_files(names, series)
        if shelved is None or shelved.stamps != stamps_of(names):
            return False
        self._go_on(shelved)
        return True

    def _go_on(self, case: Case, layers: Sequence[object] = ()) -> None:
        """Open a closed case again, in place of layers that are others of it."""
        self._shelf.drop(case)
        case.name, case.layers = self._session.free_name(case.name), tuple(layers)
        self._session.add(case)
        self._notices.show(f"{case.name} is open again, with its strokes")

    def _choose_series(
        self, names: Sequence[str], found: tuple[SeriesInfo, ...], then: Then
    ) -> None:
        index = self._view.ask_series([series_line(info) for info in found])
        if index is not None:
            self.read(names, then, series=found[index].uid)
