"""Panel "Case": open images, what is known of them, how they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLineEdit

from napari_diffseg.views import CaseFacts, Plane
from napari_diffseg.widgets.case_facts import Facts
from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    Line,
    box,
    button,
    enable,
    fill_combo,
    named,
    narrow,
    quietly,
    row,
    sentence,
)
from napari_diffseg.widgets.questions import choose_series
from napari_diffseg.widgets.segmented import Segmented
from napari_diffseg.widgets.spacing_form import SpacingForm
from napari_diffseg.widgets.tone import mark

_PLANES = (
    ("axial", "Axial", "Look along the patient's long axis, from the feet"),
    ("coronal", "Coronal", "Look at the patient from the front"),
    ("sagittal", "Sagittal", "Look at the patient from the side"),
)
_HABIT = "Radiological habit: the patient's right on the left of the screen"
_NO_SIDES = "Shown as stored: which side is which is not known"
_NO_PLANES = "A single picture has no other planes"
_EMPTY = "Open an image, or drop one into the window."
_FILES = (
    "Medical images (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd *.dcm *.png *.tif "
    "*.tiff *.jpg *.jpeg);;All files (*)"
)


class CasePanel(Panel):
    """Open images, their geometry, and how they are shown; a `CaseView`."""

    open_requested = Signal(str)
    mask_requested = Signal(str)
    close_requested = Signal()
    case_chosen = Signal(str)
    spacing_given = Signal(float, float, float)
    plane_chosen = Signal(str)
    radiological_toggled = Signal(bool)
    window_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__("case", "Case", "The image at hand")
        self._empty = Line(_EMPTY, handle=self.handle("empty"))
        self._facts = Facts()
        self._spacing = SpacingForm("diffseg.case.spacing")
        self._build_opening()
        self._build_choice()
        self._build_display()
        self.add(row(self._open, self._folder, self._path), self._empty)
        self.add(self._choice, self._facts, self._spacing, self._display)
        self._wire()
        self.set_cases((), None)
        self.show_facts(None)

    def _build_opening(self) -> None:
        self._open = button(
            self.handle("open"), "Open…", "Choose image files. Several are channels"
        )
        self._folder = IconButton(
            self.handle("open_folder"), "folder", "Choose a folder of DICOM or slices"
        )
        self._path = named(
            QLineEdit(),
            self.handle("path"),
            "Path of an image or folder, then Enter. "
            "Several joined by ; are channels of one image",
        )
        self._path.setPlaceholderText("Path, then Enter")

    def _build_choice(self) -> None:
        self._cases = narrow(
            named(QComboBox(), self.handle("choice"), "Open images. The panels speak")
        )
        self._cases.setToolTip("Open images; the panels speak of the chosen one")
        self._close = IconButton(
            self.handle("close"), "close", "Close this image and its layers", flat=True
        )
        self._choice = box("", row(self._cases, self._close))

    def _build_display(self) -> None:
        self._planes = Segmented(self.handle("plane"), _PLANES)
        self._plane: Plane = "axial"
        self._sides = self._habit = True
        self._radiological = named(
            QCheckBox("Patient's right on the left"),
            self.handle("radiological"),
            _HABIT,
        )
        self._radiological.setChecked(True)
        self._windows = narrow(
            named(
                QComboBox(),
                self.handle("window"),
                "Window and level: which intensities are shown. Models see all of them",
            )
        )
        self._mask = button(
            self.handle("mask"),
            "Load mask…",
            "Choose a mask of this image, to correct it instead of drawing anew",
        )
        self._display = box(
            "",
            self._planes,
            self._radiological,
            row(self._windows, self._mask),
        )

    def _wire(self) -> None:
        self._open.clicked.connect(lambda: self._ask(self.ask_files()))
        self._folder.clicked.connect(lambda: self._ask(self.ask_folder()))
        self._path.returnPressed.connect(lambda: self._ask(self._path.text().strip()))
        self._cases.activated.connect(
            lambda index: self.case_chosen.emit(self._cases.itemData(index))
        )
        self._close.clicked.connect(lambda: self.close_requested.emit())
        self._mask.clicked.connect(self._ask_mask)
        self._planes.chosen.connect(self.plane_chosen)
        self._radiological.toggled.connect(self._choose_habit)
        self._windows.activated.connect(
            lambda index: self.window_chosen.emit(self._windows.itemData(index))
        )
        self._spacing.given.connect(self.spacing_given)

    def _choose_habit(self, radiological: bool) -> None:
        self._habit = radiological
        self.radiological_toggled.emit(radiological)

    def _ask(self, path: str) -> None:
        if path:
            self.open_requested.emit(path)

    def _ask_mask(self) -> None:
        path = self.ask_mask()
        if path:
            self.mask_requested.emit(path)

    def ask_files(self) -> str:
        """Ask for image files; paths joined by ";", "" if the user gave up."""
        files, _ = QFileDialog.getOpenFileNames(self, "Open image", "", _FILES)
        return ";".join(files)

    def ask_folder(self) -> str:
        """Ask for a folder of DICOM files or numbered slices; "" if given up."""
        return QFileDialog.getExistingDirectory(self, "Open folder")

    def ask_mask(self) -> str:
        """Ask for a mask file; "" if the user gave up."""
        path, _ = QFileDialog.getOpenFileName(self, "Load mask to correct", "", _FILES)
        return path

    def set_cases(self, cases: Sequence[tuple[str, str]], current: str | None) -> None:
        """List (id, name) of the open cases."""
        fill_combo(self._cases, list(cases), current)
        self._choice.setVisible(bool(cases))
        self.say_aside(f"{len(cases)} open" if len(cases) > 1 else "")

    def show_facts(self, facts: CaseFacts | None) -> None:
        """Show the current case's facts, or the empty state."""
        there = facts is not None
        self._facts.show_facts(facts)
        for part in (self._facts, self._display):
            part.setVisible(there)
        self._spacing.setVisible(facts is not None and facts.needs_spacing)
        self._offer_display(facts)
        self._empty.say("" if there else _EMPTY)
        # With nothing open, opening is the one next thing to do.
        mark(self._open, "primary", not there)
        with quietly(self._path):
            self._path.setText(facts.path if facts else "")
            self._path.setCursorPosition(len(self._path.text()))

    def _offer_display(self, facts: CaseFacts | None) -> None:
        """Planes and sides only where they have a meaning; else say why not."""
        sides = facts is None or facts.sides_known
        several = facts is None or facts.has_planes
        keys = [key for key, _, _ in _PLANES] if sides and several else []
        self._planes.offer(keys, _NO_SIDES if several else _NO_PLANES)
        self._sides = sides
        self.set_plane(self._plane)
        self.set_radiological(self._habit)
        enable(self._radiological, sides, _HABIT, _NO_SIDES)

    def set_windows(self, names: Sequence[str], current: str | None) -> None:
        """List the window/level presets that fit the current case."""
        fill_combo(self._windows, [(name, sentence(name)) for name in names], current)
        self._windows.setEnabled(bool(names))

    def set_plane(self, plane: Plane) -> None:
        """Show the plane that is looked at without telling an intent."""
        self._plane = plane
        self._planes.show_current(plane if self._sides else "")

    def set_radiological(self, radiological: bool) -> None:
        """Show the side's habit without telling an intent."""
        self._habit = radiological
        with quietly(self._radiological):
            # Unknown sides are on neither side: a tick would promise one.
            self._radiological.setChecked(radiological and self._sides)

    def ask_series(self, lines: Sequence[str]) -> int | None:
        """Ask which DICOM series to open; None if the user gave up."""
        return choose_series(self, lines)
