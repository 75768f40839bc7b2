"""The settings of each tool: one or two, with their units."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.views import EditTool, Target
from napari_diffseg.widgets.parts import (
    UNIT,
    Line,
    fill_combo,
    key,
    named,
    narrow,
    row,
)
from napari_diffseg.widgets.segmented import Choice, Segmented

HOWS: dict[EditTool, tuple[str, tuple[Choice, ...]]] = {
    "islands": (
        "islands_keep",
        (
            ("largest", "Keep largest", "Remove all pieces but the largest"),
            ("small", "Remove small", "Remove the pieces that are smaller"),
        ),
    ),
    "holes": (
        "holes_in",
        (
            ("volume", "All around", "Fill what is enclosed on all sides"),
            ("slices", "In each slice", "Fill what is enclosed in a slice"),
        ),
    ),
    "smooth": (
        "smooth_how",
        (
            ("median", "Median", "Each voxel becomes what most of a ball around it is"),
            ("gaussian", "Gaussian", "Blur the distance to the surface"),
        ),
    ),
    "margin": (
        "margin_how",
        (
            ("grow", "Grow", "Add a margin on all sides"),
            ("shrink", "Shrink", "Take a margin away on all sides"),
        ),
    ),
    "combine": (
        "combine_how",
        (
            ("union", "Add", "Union: what is in either of the two"),
            ("difference", "Subtract", "Difference: what is not in the other"),
            ("intersection", "Common", "Intersection: what is in both"),
            ("exclusive", "Not both", "Exclusive or: what is in one but not both"),
        ),
    ),
    "copy": (
        "copy_to",
        (
            ("previous", "Slices before", "Copy to the slices before this one"),
            ("next", "Slices after", "Copy to the slices after this one"),
        ),
    ),
    "member": (
        "member_in",
        (
            ("region", "Where pressed", "The connected region under the last press"),
            ("box", "In the box", "The box that was drawn for a proposal"),
        ),
    ),
}
"""Handle of each tool's choice, and what there is to choose from."""

_SIZES: dict[EditTool, tuple[str, str, str, float, float]] = {
    "islands": ("islands_size", "Smaller than", "Size below which", 10.0, 1e6),
    "smooth": ("smooth_radius", "Radius", "Details much smaller than this go", 2.0, 50),
    "margin": ("margin_size", "By", "Width of the margin", 2.0, 100),
    "copy": ("copy_count", "How many", "Number of slices to copy to", 1.0, 500),
    "member": ("member_number", "Member", "Whose answer is taken", 1.0, 1000),
}
_TOLD: dict[EditTool, str] = {
    "interpolate": (
        "Draw it in some slices of this view; the slices between are filled."
    ),
    "member": "Press a place in the image, then preview: one step takes it over.",
}


class ToolPage(QWidget):
    """The settings of one tool.

    Parameters
    ----------
    prefix : str
        Of the handles.
    tool : EditTool
    """

    changed = Signal()

    def __init__(self, prefix: str, tool: EditTool) -> None:
        super().__init__()
        self.tool = tool
        self._prefix = prefix
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(UNIT)
        # Rows of the style sheet's height are never squeezed.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.choices: Segmented | None = None
        self.number: QDoubleSpinBox | None = None
        self.keep: QCheckBox | None = None
        self.other: QComboBox | None = None
        self.into: QComboBox | None = None
        if tool in _TOLD:
            self._rows.addWidget(Line(_TOLD[tool]))
        if tool in HOWS:
            self._add_choices(*HOWS[tool])
        if tool in _SIZES:
            self._add_size(*_SIZES[tool])
        if tool == "combine":
            self._add_operands()

    @property
    def how(self) -> str:
        """The tool's own choice, or ""."""
        return self.choices.current if self.choices is not None else ""

    def height_for(self, width: int) -> int:
        """Pixels that its rows need where they are so wide."""
        if self._rows.hasHeightForWidth():
            return self._rows.heightForWidth(width)
        return self.sizeHint().height()

    def set_unit(self, unit: str, *, flat: bool) -> None:
        """Show the unit of the tool's number; `flat`: in one slice only."""
        if self.number is None:
            return
        power = {"islands": "²" if flat else "³"}.get(self.tool, "")
        if self.tool == "member":
            return
        whole = self.tool == "copy"
        shown = "slices" if whole else unit + (power if unit == "mm" else "")
        self.number.setSuffix(f" {shown}")

    def set_target(self, target: Target) -> None:
        """List what can be combined; what was chosen stays chosen where it is there."""
        if self.tool == "member" and self.number is not None:
            self.number.setMaximum(max(1, target.members))
        if self.other is None or self.into is None:
            return
        classes = [(str(value), name) for value, name in target.classes]
        for combo, entries in ((self.other, list(target.others)), (self.into, classes)):
            before = combo.currentData()
            known = [data for data, _ in entries]
            first = known[0] if known else None
            stays = before in known and combo is self.other
            fill_combo(combo, entries, before if stays else first)

    def _add_choices(self, handle: str, choices: Sequence[Choice]) -> None:
        self.choices = Segmented(f"{self._prefix}.{handle}", choices)
        first = "next" if self.tool == "copy" else choices[0][0]
        self.choices.show_current(first)
        self.choices.chosen.connect(self._on_choice)
        self._rows.addWidget(self.choices)

    def _add_size(
        self, handle: str, text: str, tip: str, value: float, most: float
    ) -> None:
        spin = named(QDoubleSpinBox(), f"{self._prefix}.{handle}", tip)
        whole = self.tool in ("copy", "member")
        spin.setDecimals(0 if whole else 1)
        spin.setRange(1 if whole else 0.1, most)
        spin.setSingleStep(1 if whole else 0.5)
        spin.setKeyboardTracking(False)
        spin.setFixedWidth(120)
        spin.setValue(value)
        spin.valueChanged.connect(lambda _: self.changed.emit())
        self.number = spin
        label = key(text)
        label.setBuddy(spin)
        line: list[QWidget | int] = [label, spin, 1]
        if self.tool == "smooth":
            tip = "Move the surface so that the structure keeps its volume"
            self.keep = named(
                QCheckBox("Keep volume"), f"{self._prefix}.smooth_keep", tip
            )
            self.keep.toggled.connect(lambda _: self.changed.emit())
            line.append(self.keep)
        self._rows.addLayout(row(*line))
        self._on_choice("", tell=False)

    def _add_operands(self) -> None:
        self.other = self._combo("combine_with", "What to combine it with")
        self.into = self._combo("combine_into", "Which structure becomes the result")
        line = row(key("With"), self.other, key("into"), self.into)
        line.setStretch(1, 1)
        line.setStretch(3, 1)
        self._rows.addLayout(line)

    def _combo(self, handle: str, tip: str) -> QComboBox:
        combo = narrow(named(QComboBox(), f"{self._prefix}.{handle}", tip))
        combo.currentIndexChanged.connect(lambda _: self.changed.emit())
        return combo

    def _on_choice(self, choice: str, *, tell: bool = True) -> None:
        if self.tool == "islands" and self.number is not None:
            self.number.setEnabled(self.how == "small")
        if tell:
            self.changed.emit()
