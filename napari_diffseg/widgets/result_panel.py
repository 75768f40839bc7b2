"""Panel "Result": volumes with spreads, what is shown, legend."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QSlider, QSpinBox

from diffseg.domain import Label, StructureReport
from napari_diffseg.views import Shown
from napari_diffseg.widgets.legend import Legend
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import Banner, Line, box, key, named, quietly, row
from napari_diffseg.widgets.segmented import Segmented
from napari_diffseg.widgets.structure_table import StructureTable

_VIEWS = (
    ("mask", "Mask", "The mask in hand"),
    ("contours", "Contours", "Lines of 5 %, 50 % and 95 % probability"),
    ("uncertainty", "Uncertainty", "Where members disagree"),
    ("member", "Member", "One member of the ensemble at a time"),
)
_EMPTY = "Volumes and their spread appear here with a proposal."


class ResultPanel(Panel):
    """Volumes with spreads, legend, what is shown; a `ResultView`."""

    view_chosen = Signal(str)
    member_chosen = Signal(int)
    structure_chosen = Signal(int)
    opacity_changed = Signal(float)
    outline_toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__("result", "Result", "What was proposed, and how sure it is")
        self._empty = Line(_EMPTY, handle=self.handle("empty"))
        self._table = StructureTable(self.handle("structures"))
        self._note = Line("", handle=self.handle("note"))
        self._warnings = Banner("", handle=self.handle("warnings"))
        self._views = Segmented(self.handle("view"), _VIEWS)
        self._legend = Legend(self.handle("legend"))
        self._member = named(
            QSpinBox(), self.handle("member"), "Which member of the ensemble is shown"
        )
        self._of = QLabel()
        self._members = box("", row(key("Member"), self._member, self._of, 1))
        self._build_mask_controls()
        self.add(self._empty, self._table, self._note, self._warnings)
        self.add(self._views, self._legend, self._members)
        self.add(row(key("Opacity"), self._opacity, self._percent, self._outline))
        self._wire()
        self.show_structures((), "")
        self.show_warnings(())
        self.set_views(("mask",), "mask", 0)

    def _build_mask_controls(self) -> None:
        self._opacity = named(
            QSlider(Qt.Orientation.Horizontal),
            self.handle("opacity"),
            "How much of the image the mask covers",
        )
        self._opacity.setRange(0, 100)
        self._opacity.setValue(50)
        self._percent = QLabel("50 %")
        self._percent.setFixedWidth(self._percent.fontMetrics().averageCharWidth() * 7)
        self._outline = named(
            QCheckBox("Outline"), self.handle("outline"), "Show the mask's edge only"
        )

    def _wire(self) -> None:
        self._table.chosen.connect(self.structure_chosen)
        self._views.chosen.connect(self._tell_view)
        self._member.valueChanged.connect(lambda n: self.member_chosen.emit(n - 1))
        self._opacity.valueChanged.connect(self._tell_opacity)
        self._outline.toggled.connect(self.outline_toggled)

    def _tell_view(self, shown: Shown) -> None:
        self._show_view(shown)
        self.view_chosen.emit(shown)

    def _show_view(self, shown: Shown) -> None:
        self._legend.explain(shown)
        self._members.setVisible(shown == "member")

    def _tell_opacity(self, percent: int) -> None:
        self._percent.setText(f"{percent} %")
        self.opacity_changed.emit(percent / 100)

    def show_structures(
        self,
        rows: Sequence[tuple[Label, StructureReport]],
        note: str,
        word: str = "voxel",
    ) -> None:
        """Show volumes with their spread, and a note on what made them."""
        self._table.show_rows(rows, word)
        self._table.setVisible(bool(rows))
        self._empty.say("" if rows else _EMPTY)
        self._note.say(note)

    def set_views(self, available: Sequence[Shown], shown: Shown, members: int) -> None:
        """Offer what can be shown; `members` is how many were kept."""
        why_not = "There is no proposal to show this of"
        self._views.offer(available, why_not)
        self._views.show_current(shown)
        self._views.setVisible(len(available) > 1)
        with quietly(self._member):
            self._member.setRange(1, max(1, members))
        self._of.setText(f"of {members}")
        self._show_view(shown)

    def show_warnings(self, warnings: Sequence[str]) -> None:
        """Show the proposal's warnings."""
        self._warnings.tell("\n".join(warnings), "warning")

    def set_opacity(self, opacity: float) -> None:
        """Show the mask's opacity in [0, 1] without telling an intent."""
        with quietly(self._opacity):
            self._opacity.setValue(round(opacity * 100))
        self._percent.setText(f"{self._opacity.value()} %")

    def set_outline(self, outline: bool) -> None:
        """Show whether the mask is an outline without telling an intent."""
        with quietly(self._outline):
            self._outline.setChecked(outline)
