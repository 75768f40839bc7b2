"""Export: where the mask goes, as what, and never over something unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffseg.errors import UserError
from napari_diffseg.presenters.files import (
    SUFFIXES,
    check_target,
    default_path,
    formats_of,
    is_sidecar,
    sidecar_of,
    snapshot,
    with_suffix,
    write,
)
from napari_diffseg.presenters.ports import Background, JournalPort, told
from napari_diffseg.session import Case, Session
from napari_diffseg.views import ExportView, Notices


class ExportPresenter:
    """Panel "Export".

    Parameters
    ----------
    session : Session
    view : ExportView
    journal : JournalPort
        Told what is safe in a file of the user's.
    notices : Notices
    background : Background
        Writes without making the window wait.
    let_go : callable
        Told of a case that was closed before its mask was safe in a file.
    """

    def __init__(
        self,
        session: Session,
        view: ExportView,
        journal: JournalPort,
        notices: Notices,
        background: Background,
        let_go: Callable[[Case], Any],
    ) -> None:
        self._session = session
        self._view = view
        self._journal = journal
        self._notices = notices
        self._background = background
        self._let_go = let_go
        self._paths: dict[str, Path] = {}
        self._formats: dict[str, str] = {}
        self._writing: set[Path] = set()
        view.path_changed.connect(self.set_path)
        view.format_chosen.connect(self.choose_format)
        view.run_requested.connect(self.run)
        session.current_changed.connect(self._on_current)
        session.case_removed.connect(self._on_removed)
        self._show()

    def set_path(self, text: str) -> None:
        """Write there; a name that ends in another format's suffix chooses it."""
        case = self._session.current
        if case is None or not text.strip():
            return
        path = Path(text.strip()).expanduser()
        self._paths[case.id] = path
        for name in formats_of(case):
            if path.name.lower().endswith(SUFFIXES[name]):
                if name != self._format_of(case):
                    self._formats[case.id] = name
                    self._view.set_formats(formats_of(case), name)
                break

    def choose_format(self, name: str) -> None:
        """Write as this; the path gets its suffix."""
        case = self._session.current
        if case is not None and name in formats_of(case):
            self._formats[case.id] = name
            self._paths[case.id] = with_suffix(self._path_of(case), SUFFIXES[name])
            self._view.set_path(str(self._paths[case.id]))

    def run(self) -> None:
        """Write the current case's mask, with a sidecar that says what made it."""
        case = self._session.current
        if case is None:
            self._notices.show("open an image first", "warning")
            return
        if case.locked:
            self._notices.show(case.locked, "warning")
            return
        path = self._path_of(case).absolute()
        try:
            suffixes = [SUFFIXES[name] for name in formats_of(case)]
            check_target(path, case.volume.source, suffixes)
        except (UserError, OSError) as error:
            self._notices.show(told(error), "error")
            return
        if path in self._writing:
            return
        sidecar = sidecar_of(path)
        foreign = sidecar.exists() and not is_sidecar(sidecar)
        there = [path] * path.exists() + [sidecar] * foreign
        if not all(self._view.ask_overwrite(one) for one in there):
            return
        if self._session.case(case.id) is not case:
            return
        self._write(case, path)

    def _write(self, case: Case, path: Path) -> None:
        export, edits = snapshot(case, path), case.edits
        self._writing.add(path)
        self._view.set_ready(False, f"writing {path.name} ...")

        def done(text: str) -> None:
            self._end(path)
            if case.edits == edits:  # no stroke since: the file holds all of it
                self._all_written(case)
            self._view.show_done(text)
            self._notices.show(f"exported {text}")

        def failed(error: Exception) -> None:
            self._end(path)
            self._notices.show(told(error), "error")

        self._background(lambda: write(export), done, failed)

    def _all_written(self, case: Case) -> None:
        if case.entry is not None:
            return  # its place is the project, which has to have it, too
        case.unsaved = False
        if self._session.case(case.id) is case:
            self._journal.exported(case.id)
        else:  # closed meanwhile, and kept until now
            self._let_go(case)

    def _end(self, path: Path) -> None:
        self._writing.discard(path)
        self._show_ready()

    def _path_of(self, case: Case) -> Path:
        if case.id not in self._paths:  # once: what was shown is what is written
            suffix = SUFFIXES[self._format_of(case)]
            self._paths[case.id] = default_path(case, suffix)
        return self._paths[case.id]

    def _format_of(self, case: Case) -> str:
        return self._formats.get(case.id, formats_of(case)[0])

    def _on_current(self, _case: Case | None) -> None:
        self._show()

    def _on_removed(self, case: Case) -> None:
        self._paths.pop(case.id, None)
        self._formats.pop(case.id, None)

    def _show(self) -> None:
        case = self._session.current
        if case is None:
            self._view.set_formats((), "")
            self._view.set_path("")
        else:
            self._view.set_formats(formats_of(case), self._format_of(case))
            self._view.set_path(str(self._path_of(case)))
        self._show_ready()

    def _show_ready(self) -> None:
        case = self._session.current
        if case is None:
            self._view.set_ready(False, "open an image first")
        elif case.locked:  # its mask is in another window
            self._view.set_ready(False, case.locked)
        else:
            self._view.set_ready(True, "")
