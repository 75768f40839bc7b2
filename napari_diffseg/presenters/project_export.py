"""Export of a whole project: every case that has a mask, as one format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffseg.project.entries import ProjectFacts
from diffseg.project.exporting import formats
from diffseg.project.outgoing import Outgoing, export_project, free_folder
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.ports import told
from napari_diffseg.presenters.words import counted
from napari_diffseg.session import Session
from napari_diffseg.views import Notices, ProjectExportView


class ProjectExportPresenter:
    """The part "All cases of the project" of panel "Export".

    Parameters
    ----------
    session : Session
    view : ProjectExportView
    books : Books
    notices : Notices
    save : callable
        Keeps what is drawn in the open case, then calls on.
    """

    def __init__(
        self,
        session: Session,
        view: ProjectExportView,
        books: Books,
        notices: Notices,
        save: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._session, self._view, self._books = session, view, books
        self._notices, self._save = notices, save
        self._project: Path | None = None
        self._format = next(iter(formats()))
        self._folder: Path | None = None
        self._writing = False
        view.format_chosen.connect(self.choose_format)
        view.folder_changed.connect(self.set_folder)
        view.run_requested.connect(self.run)
        session.project_changed.connect(self._on_project)
        self._show()

    def choose_format(self, name: str) -> None:
        """Write as this; into a folder that is free."""
        if name in formats() and self._project is not None:
            self._format = name
            self._folder = free_folder(self._project, name)
            self._show()

    def set_folder(self, text: str) -> None:
        """Write there."""
        if text.strip():
            self._folder = Path(text.strip()).expanduser()

    def run(self) -> None:
        """Save what is drawn, then write every case that has a mask."""
        folder = self._folder
        if self._writing or folder is None or self._books.ledger is None:
            return
        self._save(lambda: self._write(self._format, folder))

    def _write(self, name: str, folder: Path) -> None:
        if self._writing:
            return
        self._writing = True
        self._show_ready()
        # After all that is to be kept first: the version that was just saved.
        self._books.do(
            lambda ledger: export_project(ledger.project, name, folder),
            self._done,
            self._failed,
        )

    def _done(self, made: Outgoing) -> None:
        self._writing = False
        text = f"{made.folder}: {counted(made.cases, 'case')}"
        text += f" in {counted(made.files, 'file')}"
        if made.left:
            text += f"; {len(made.left)} without a mask yet"
        self._view.show_done(text)
        self._notices.show(f"exported {text}")
        for note in made.notes:
            self._notices.show(note, "warning")
        self._show_ready()

    def _failed(self, error: Exception) -> None:
        self._writing = False
        self._notices.show(f"nothing was exported: {told(error)}", "error")
        self._show_ready()

    def _on_project(self, facts: ProjectFacts | None) -> None:
        folder = None if facts is None else facts.folder
        if folder != self._project:
            self._project = folder
            self._folder = None
            self._writing = False
            if folder is not None:
                self._folder = free_folder(folder, self._format)
            self._view.show_done("")
            self._show()

    def _show(self) -> None:
        there = self._project is not None
        offered = [(one.name, one.title) for one in formats().values()] if there else []
        self._view.show_formats(offered, self._format)
        self._view.show_folder("" if self._folder is None else str(self._folder))
        self._show_ready()

    def _show_ready(self) -> None:
        if self._project is None:
            self._view.set_ready(False, "open a project first")
        elif self._writing:
            self._view.set_ready(False, "writing all cases ...")
        else:
            self._view.set_ready(True, "")
