"""Panel "Project": which one is open, its cases, and how the one at hand stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLineEdit, QSizePolicy

from diffseg.project.entries import ProjectFacts, Row
from napari_diffseg.views import CaseStatus
from napari_diffseg.widgets.case_list import SIGNS, CaseList
from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    UNIT,
    Line,
    box,
    button,
    enable,
    fill_combo,
    named,
    narrow,
    quietly,
    row,
)
from napari_diffseg.widgets.questions import taken_question
from napari_diffseg.widgets.reading_form import ReadingForm
from napari_diffseg.widgets.segmented import Choice, Segmented
from napari_diffseg.widgets.tone import mark

_EMPTY = "A project keeps cases, labels and every version of a mask."
_SAVE = "Save the mask as a new version. Key: K"
_NOTHING = "Nothing has changed since it was saved"
_NEXT = "Save, and open the next case of the list. Key: Shift-Right"
_PREVIOUS = "Save, and open the case before. Key: Shift-Left"
_END = "The list does not go on"
_IMAGES = (
    "Medical images (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd *.dcm *.png *.tif "
    "*.tiff *.jpg *.jpeg);;All files (*)"
)
_STATES: tuple[Choice, ...] = (
    ("in_progress", "In progress", "You work on it"),
    ("done", "Done", "The mask is right; it is saved. Key: R"),
    ("flagged", "Flagged", "Somebody should look at it again; it is saved"),
)


class ProjectPanel(Panel):
    """The project and its list of cases; a `ProjectView`."""

    open_requested = Signal(str, str)
    create_requested = Signal(str, str)
    close_requested = Signal()
    add_requested = Signal(object)
    case_requested = Signal(str)
    step_requested = Signal(int)
    sort_requested = Signal(str, bool)
    sift_requested = Signal(str, str)
    save_requested = Signal()
    state_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__("project", "Project", "Cases that are worked on together")
        self._shown = 0
        self._total = 0
        self._counts_text = ""
        self._build_door()
        self._build_list()
        self._build_case()
        self.add(self._door, self._inside, self._case)
        self._wire()
        self.show_recent(())
        self.show_project(None)
        self.show_rows((), {}, None)
        self.show_case(None)

    def _build_door(self) -> None:
        self._path = named(
            QLineEdit(), self.handle("path"), "Folder of a project, then Enter"
        )
        self._path.setPlaceholderText("Folder of a project, then Enter")
        self._open = button(self.handle("open"), "Open…", "Choose a project's folder")
        self._create = button(
            self.handle("create"),
            "New…",
            "Make a project in a new folder: the one typed, or one to choose",
        )
        self._recent = narrow(
            named(QComboBox(), self.handle("recent"), "Projects that were open lately")
        )
        self._recent.setPlaceholderText("Open lately")
        self._who = named(
            QLineEdit(),
            self.handle("annotator"),
            "Your name, as the project keeps it. Without one, this account's",
        )
        self._who.setPlaceholderText("You are (this account's name)")
        self._empty = Line(_EMPTY, handle=self.handle("empty"))
        self._door = box(
            "",
            row(self._path, self._open, self._create),
            row(self._recent, self._who),
            self._empty,
        )

    def _build_list(self) -> None:
        self._where = Line("", handle=self.handle("where"))
        self._add = button(
            self.handle("add"), "Add images…", "Choose images; each becomes a case"
        )
        self._close = IconButton(
            self.handle("close"), "close", "Save, and close the project", flat=True
        )
        self._search = named(
            QLineEdit(), self.handle("search"), "Show only cases whose name holds this"
        )
        self._search.setPlaceholderText("Find")
        self._search.setClearButtonEnabled(False)
        self._state = narrow(
            named(QComboBox(), self.handle("filter"), "Show only cases of a state")
        )
        states = [("", "All states")]
        states += [(state, f"{sign} {text}") for state, (sign, text) in SIGNS.items()]
        fill_combo(self._state, states, "")
        self._list = CaseList(self.handle("list"))
        self._counts = Line("", handle=self.handle("counts"))
        head = row(self._where, self._add, self._close)
        head.setStretch(0, 1)
        self._inside = box(
            "",
            head,
            row(self._search, self._state),
            self._list,
            self._counts,
        )

    def _build_case(self) -> None:
        self._name = Line("", role="title", handle=self.handle("case"))
        self._states = Segmented(self.handle("state"), _STATES)
        self._previous = button(self.handle("previous"), "Previous", _PREVIOUS)
        self._next = button(self.handle("next"), "Next case", _NEXT)
        self._save = button(self.handle("save"), "Save version", _SAVE)
        for made in (self._previous, self._next, self._save):
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._said = Line("", handle=self.handle("saved"))
        self.reading = ReadingForm("diffseg.project")
        self._case = box(
            "",
            self._name,
            self._states,
            row(self._previous, self._save, self._next),
            self._said,
            self.reading,
            spacing=UNIT * 3 // 4,
        )

    def _wire(self) -> None:
        self._path.returnPressed.connect(lambda: self._ask_open(self._path.text()))
        self._open.clicked.connect(lambda: self._ask_open(self.ask_folder()))
        self._create.clicked.connect(self._ask_create)
        self._recent.activated.connect(
            lambda index: self._ask_open(self._recent.itemData(index))
        )
        self._add.clicked.connect(lambda: self.add_requested.emit(self.ask_images()))
        self._close.clicked.connect(lambda: self.close_requested.emit())
        self._search.textChanged.connect(lambda _: self._sift())
        self._state.currentIndexChanged.connect(lambda _: self._sift())
        self._list.case_requested.connect(self.case_requested)
        self._list.sort_requested.connect(self.sort_requested)
        self._states.chosen.connect(self.state_chosen)
        self._previous.clicked.connect(lambda: self.step_requested.emit(-1))
        self._next.clicked.connect(lambda: self.step_requested.emit(1))
        self._save.clicked.connect(lambda: self.save_requested.emit())

    def _ask_open(self, folder: str) -> None:
        if folder.strip():
            self.open_requested.emit(folder.strip(), self._who.text().strip())

    def _ask_create(self) -> None:
        folder = self._path.text().strip() or self.ask_new()
        if folder:
            self.create_requested.emit(folder, self._who.text().strip())

    def _sift(self) -> None:
        state = str(self._state.currentData() or "")
        self.sift_requested.emit(self._search.text(), state)

    def ask_folder(self) -> str:
        """Ask for a project's folder; "" if the user gave up."""
        return QFileDialog.getExistingDirectory(self, "Open project")

    def ask_new(self) -> str:
        """Ask for a new folder; "" if the user gave up."""
        path, _ = QFileDialog.getSaveFileName(self, "New project", "my-study")
        return path

    def ask_images(self) -> list[str]:
        """Ask for images; none if the user gave up."""
        files, _ = QFileDialog.getOpenFileNames(self, "Add images", "", _IMAGES)
        return files

    def ask_taken(self, name: str, who: str, until: str) -> Literal["read", "wait", ""]:
        """Tell that somebody else works on a case: look at it, wait, or leave it."""
        question = taken_question(self, name, who, until)
        question.exec()
        answer = question.answer if question.answer in ("read", "wait") else ""
        return cast("Literal['read', 'wait', '']", answer)

    def show_recent(self, folders: Sequence[str]) -> None:
        """Offer projects that were open lately."""
        fill_combo(self._recent, [(one, one) for one in folders], None)
        self._recent.setVisible(bool(folders))

    def show_project(self, facts: ProjectFacts | None) -> None:
        """Show which project is open, or how to open one."""
        there = facts is not None
        self._door.setVisible(not there)
        self._inside.setVisible(there)
        if facts is None:
            self.say_aside("")
            with quietly(self._search, self._state):
                self._search.clear()
                self._state.setCurrentIndex(0)
            return
        self.say_aside(facts.name)
        self._where.say(f"annotator {facts.annotator}")
        self._where.setToolTip(str(facts.folder))
        self._path.setText(str(facts.folder))
        self._total = facts.total
        # With no cases yet, adding some is the one next thing to do.
        mark(self._add, "primary", not facts.total)
        counts = [
            f"{facts.states.get(state, 0):,} {text}"
            for state, (_, text) in SIGNS.items()
            if facts.states.get(state, 0)
        ]
        self._counts_text = ", ".join(counts)
        self._show_counts()

    def show_rows(
        self, rows: Sequence[Row], dice: Mapping[str, float], current: str | None
    ) -> None:
        """Show these cases in this order; `current` is the id of the open one."""
        self._shown = len(rows)
        self._list.show_rows(rows, dice, current)
        self._show_counts()

    def _show_counts(self) -> None:
        if not self._total:
            self._counts.say("No cases yet: add images.")
            return
        word = f"{self._total:,} case{'s' if self._total != 1 else ''}"
        if self._shown != self._total:
            word = f"{self._shown:,} of {word}"
        self._counts.say(f"{word}: {self._counts_text}")

    def show_case(self, status: CaseStatus | None) -> None:
        """Show how the case at hand stands."""
        self._case.setVisible(status is not None)
        if status is None:
            return
        self._name.say(status.name)
        self._states.show_current(status.state)
        keys = () if status.locked else [key for key, _, _ in _STATES]
        self._states.offer(keys, status.line)
        enable(self._save, status.unsaved, _SAVE, _NOTHING)
        mark(self._save, "primary", status.unsaved)
        enable(self._next, status.has_next, _NEXT, _END)
        enable(self._previous, status.has_previous, _PREVIOUS, _END)
        self._said.say(status.line)
