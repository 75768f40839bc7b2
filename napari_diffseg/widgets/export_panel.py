"""Panel "Export": format, path, run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLineEdit, QSizePolicy

from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    Line,
    button,
    enable,
    fill_combo,
    key,
    named,
    narrow,
    quietly,
    row,
)
from napari_diffseg.widgets.project_export_form import ProjectExportForm
from napari_diffseg.widgets.questions import overwrite_question

_RUN_TIP = "Write the mask on the image's own grid, with its own header"


class ExportPanel(Panel):
    """Format, path and run; an `ExportView`."""

    path_changed = Signal(str)
    format_chosen = Signal(str)
    run_requested = Signal()

    def __init__(self) -> None:
        super().__init__("export", "Export", "Write the mask to a file")
        self._formats = narrow(
            named(QComboBox(), self.handle("format"), "What kind of file to write")
        )
        self._path = named(
            QLineEdit(), self.handle("path"), "Where the mask will be written"
        )
        self._path.setPlaceholderText("Path of the file")
        self._browse = IconButton(
            self.handle("browse"), "folder", "Choose where to write it"
        )
        self._run = button(self.handle("run"), "Export", _RUN_TIP)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._why = Line("", handle=self.handle("why_not"))
        self._done = Line("", role="plain", handle=self.handle("done"))
        kind = key("Format")
        kind.setBuddy(self._formats)
        self.add(row(kind, self._formats), row(self._path, self._browse), self._run)
        self.add(self._why, self._done)
        self.project = ProjectExportForm("diffseg.export.project")
        self.add(self.project)
        self._formats.activated.connect(
            lambda index: self.format_chosen.emit(self._formats.itemData(index))
        )
        self._path.textEdited.connect(self.path_changed)
        self._browse.clicked.connect(self._ask_path)
        self._run.clicked.connect(lambda: self.run_requested.emit())
        self.set_formats((), "")
        self.set_ready(False, "There is no mask to export yet.")

    def _ask_path(self) -> None:
        # Whether a file may be replaced is asked when it is written.
        silent = QFileDialog.Option.DontConfirmOverwrite
        path, _ = QFileDialog.getSaveFileName(
            self, "Export mask", self._path.text(), "", "", silent
        )
        if path:
            self.set_path(path)
            self.path_changed.emit(path)

    def set_formats(self, names: Sequence[str], current: str) -> None:
        """List what the current case can be written as."""
        fill_combo(self._formats, [(name, name) for name in names], current)
        self._formats.setEnabled(bool(names))

    def set_path(self, path: str) -> None:
        """Show where the mask will go."""
        if path != self._path.text():
            with quietly(self._path):
                self._path.setText(path)

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether there is something to export."""
        enable(self._run, ready, _RUN_TIP, why_not)
        self._why.say("" if ready else why_not)

    def show_done(self, text: str) -> None:
        """Say what was written and where."""
        self._done.say(text)

    def ask_overwrite(self, path: Path) -> bool:
        """Ask whether a file that is there may be replaced."""
        asked = overwrite_question(self, path)
        asked.exec()
        return asked.answer == "replace"
