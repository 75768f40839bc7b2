"""Where a structure starts and ends: controls, and the lanes below the canvas."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from diffseg.domain import Presence
from napari_diffseg.views import LabelStrip
from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.label_strip import LabelLanes
from napari_diffseg.widgets.parts import UNIT, Line, button, enable, key, row
from napari_diffseg.widgets.segmented import Segmented

_STATES = (
    ("present", "present", "The structure is in every slice of the range"),
    ("absent", "absent", "It is in none of them, and will not be proposed there"),
    ("unknown", "?", "Nothing is said of them any more"),
)
_STARTS = "The structure in hand starts at this slice. Key: S"
_ENDS = "It ends at this slice: the range is said. Key: D"
_UNDO = "Take back what was said last. Key: J"


class PresenceForm(QWidget):
    """Controls of labels by slice; a `PresenceView`.

    `lanes` stands below the canvas; whoever builds the window puts it there.
    """

    starts_requested = Signal()
    ends_requested = Signal()
    undo_requested = Signal()
    state_chosen = Signal(object)
    slice_chosen = Signal(int)
    lanes_wanted = Signal(bool)

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.setObjectName(f"{prefix}.range")
        self.lanes = LabelLanes(f"{prefix}.lanes")
        self._states = Segmented(f"{prefix}.range_state", _STATES)
        self._states.show_current("present")
        self._starts = button(f"{prefix}.range_start", "Starts here", _STARTS)
        self._ends = button(f"{prefix}.range_end", "Ends here", _ENDS)
        self._undo = IconButton(f"{prefix}.range_undo", "undo", _UNDO)
        self._said = Line("", handle=f"{prefix}.range_said")
        for made in (self._starts, self._ends):
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(UNIT * 3 // 4)
        line = row(key("By slice"), self._states)
        line.setStretch(1, 1)
        layout.addLayout(line)
        layout.addLayout(row(self._starts, self._ends, self._undo))
        layout.addWidget(self._said)
        self._states.chosen.connect(
            lambda state: self.state_chosen.emit(Presence(state))
        )
        self._starts.clicked.connect(lambda: self.starts_requested.emit())
        self._ends.clicked.connect(lambda: self.ends_requested.emit())
        self._undo.clicked.connect(lambda: self.undo_requested.emit())
        self.lanes.chosen.connect(self.slice_chosen)
        self.show_range("", False, "")
        self.show_strips((), None)

    def show_range(self, line: str, usable: bool, why_not: str) -> None:
        """Show what was begun, and whether ranges can be said here."""
        for made, tip in ((self._starts, _STARTS), (self._ends, _ENDS)):
            enable(made, usable, tip, why_not)
        enable(self._undo, usable, _UNDO, why_not)
        self._said.say(line)

    def show_strips(self, strips: Sequence[LabelStrip], here: int | None) -> None:
        """Show what is known by slice; `here` None where another plane is shown."""
        self.lanes.show_strips(strips, here)
        several = bool(strips) and len(strips[0].slices) > 1
        self.setVisible(several)
        self.lanes_wanted.emit(several)
