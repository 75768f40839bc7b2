"""The part "Resample" of the panel "Correct": what is kept, where, and go."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.session import Busy
from napari_diffseg.views import Redraw
from napari_diffseg.widgets.brief import Brief
from napari_diffseg.widgets.parts import (
    UNIT,
    Line,
    box,
    button,
    enable,
    hairline,
    key,
    named,
    row,
)
from napari_diffseg.widgets.segmented import Choice, Segmented

_RUN = (
    "Keep what was drawn and erased, and have the model draw the rest anew. "
    "Key: Shift-G"
)
_SCOPES: tuple[Choice, ...] = (
    ("slice", "Slice and neighbours", "Two slices to each side change, too"),
    ("volume", "Volume", "All around the strokes changes"),
)
_KEEPS: tuple[Choice, ...] = (
    ("strokes", "Strokes", "Every voxel that was drawn or erased stays"),
    ("drawn", "Drawn slices", "Slices stay that were drawn in, or accepted"),
    ("seen", "Seen slices", "Slices stay that were looked at, too"),
)
_LEVEL = (
    "Noise level: how much of the mask is forgotten. 0.1 hardly changes it, 1 draws "
    "it from noise"
)
_UNTICKED = "Slices are ticked off in a project only"


class ResampleForm(QWidget):
    """Draw the mask anew around the strokes; a `ResampleView`.

    Parameters
    ----------
    prefix : str
        Of the handles.
    """

    run_requested = Signal(object)  # Redraw
    cancel_requested = Signal()

    def __init__(self, prefix: str) -> None:
        super().__init__()
        name = f"{prefix}.resample"
        self.setObjectName(f"{name}_part")
        self.setAccessibleName("Resample")
        self._ready, self._why, self._busy = False, "", False
        self._several = True
        self._run = button(name, "Resample around my strokes", _RUN)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._scope = Segmented(f"{name}_scope", _SCOPES)
        self._scope.show_current("slice")
        self._keep = Segmented(f"{name}_keep", _KEEPS)
        self._keep.show_current("drawn")
        self._keeps = box("", key("Keep"), self._keep, spacing=2)
        self._level = self._spin(f"{name}_level")
        self._why_not = Line("", handle=f"{name}_why_not")
        self._progress = self._make_progress(name)
        label = key("Noise level")
        label.setBuddy(self._level)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(UNIT)
        for part in (hairline(), self._run, self._scope, self._keeps):
            whole.addWidget(part)
        whole.addLayout(row(label, self._level, 1))
        whole.addWidget(self._progress)
        whole.addWidget(self._why_not)
        self._run.clicked.connect(lambda: self.run_requested.emit(self.redraw))
        self.set_busy(None)

    @property
    def redraw(self) -> Redraw:
        """What is chosen."""
        keep = self._keep.current if self._several else "strokes"
        return Redraw(
            self._several and self._scope.current == "slice",
            keep,  # type: ignore[arg-type]
            self._level.value() or None,
        )

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether it can be done, and if not what to do first."""
        self._ready, self._why = ready, why_not
        self._show_state()

    def set_busy(self, busy: Busy | None) -> None:
        """Show how far it is, or that nothing of it is under way."""
        self._busy = busy is not None
        self._bar.setUpdatesEnabled(False)  # else it paints the whole window at once
        if busy is not None:
            self._bar.setRange(0, 0 if busy.fraction is None else 1000)
            self._bar.setValue(round(1000 * (busy.fraction or 0.0)))
            self._message.say(busy.message)
        else:
            self._bar.setRange(0, 1000)
            self._bar.reset()
        self._bar.setUpdatesEnabled(True)
        self._show_state()

    def set_slices(self, several: bool, ticked: bool) -> None:
        """Whether there are several slices, and whether those seen are ticked off."""
        self._several = several
        self._scope.setVisible(several)
        self._keeps.setVisible(several)
        offered = ("strokes", "drawn", "seen") if ticked else ("strokes", "drawn")
        self._keep.offer(offered, _UNTICKED)
        if self._keep.current not in offered:
            self._keep.show_current("drawn")

    def _spin(self, handle: str) -> QDoubleSpinBox:
        spin = named(QDoubleSpinBox(), handle, _LEVEL)
        spin.setRange(0.0, 1.0)
        spin.setSingleStep(0.05)
        spin.setSpecialValueText("the model's own")
        spin.setKeyboardTracking(False)
        spin.setFixedWidth(150)
        return spin

    def _make_progress(self, name: str) -> QWidget:
        self._bar = named(QProgressBar(), f"{name}_progress", "How far it is")
        self._bar.setTextVisible(False)
        self._message = Brief("", role="plain", handle=f"{name}_message")
        self._cancel = button(f"{name}_cancel", "Cancel", "Stop. Key: Esc")
        self._cancel.clicked.connect(lambda: self.cancel_requested.emit())
        line = row(self._message, self._cancel)
        line.setStretch(0, 1)
        return box(f"{name}_busy", self._bar, line)

    def _show_state(self) -> None:
        why = "It is being done" if self._busy else self._why
        enable(self._run, self._ready and not self._busy, _RUN, why)
        self._progress.setVisible(self._busy)
        self._cancel.setEnabled(self._busy)
        self._why_not.say("" if self._ready or self._busy else self._why)
