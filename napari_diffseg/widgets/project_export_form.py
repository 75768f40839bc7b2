"""The part "All cases of the project" of panel "Export": format, folder, run."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLineEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.parts import (
    UNIT,
    Line,
    button,
    enable,
    fill_combo,
    hairline,
    key,
    named,
    narrow,
    quietly,
    row,
)

_RUN = "Save, and write the newest mask of every case that has one"


class ProjectExportForm(QWidget):
    """A `ProjectExportView`; hidden while no project is open.

    Parameters
    ----------
    prefix : str
        Of the handles.
    """

    format_chosen = Signal(str)
    folder_changed = Signal(str)
    run_requested = Signal()

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.setObjectName(prefix)
        self.setAccessibleName("Export all cases")
        self._formats = narrow(
            named(QComboBox(), f"{prefix}_format", "What all cases are written as")
        )
        self._folder = named(
            QLineEdit(), f"{prefix}_path", "Folder that the files are written into"
        )
        self._folder.setPlaceholderText("Folder")
        self._browse = IconButton(f"{prefix}_browse", "folder", "Choose the folder")
        self._run = button(f"{prefix}_run", "Export all cases", _RUN)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._why = Line("", handle=f"{prefix}_why_not")
        self._done = Line("", role="plain", handle=f"{prefix}_done")
        kind = key("Format")
        kind.setBuddy(self._formats)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(UNIT)
        whole.addWidget(hairline())
        whole.addWidget(key("All cases of the project"))
        whole.addLayout(row(kind, self._formats))
        whole.addLayout(row(self._folder, self._browse))
        for part in (self._run, self._why, self._done):
            whole.addWidget(part)
        self._formats.activated.connect(
            lambda index: self.format_chosen.emit(self._formats.itemData(index))
        )
        self._folder.textEdited.connect(self.folder_changed)
        self._browse.clicked.connect(self._ask)
        self._run.clicked.connect(lambda: self.run_requested.emit())
        self.show_formats((), "")

    def _ask(self) -> None:
        found = QFileDialog.getExistingDirectory(
            self, "Export all cases into", self._folder.text()
        )
        if found:
            self.show_folder(found)
            self.folder_changed.emit(found)

    def show_formats(self, formats: Sequence[tuple[str, str]], current: str) -> None:
        """Offer formats, each by name and title; none of them: no project is open."""
        fill_combo(self._formats, list(formats), current)
        self.setVisible(bool(formats))

    def show_folder(self, folder: str) -> None:
        """Show where the files go."""
        if folder != self._folder.text():
            with quietly(self._folder):
                self._folder.setText(folder)

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether it can be done, and if not why."""
        enable(self._run, ready, _RUN, why_not)
        self._why.say("" if ready else why_not)

    def show_done(self, text: str) -> None:
        """Say what was written and where."""
        self._done.say(text)
