"""Which intensities the brush paints."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QSizePolicy, QVBoxLayout, QWidget

from napari_diffseg.views import BrushRange
from napari_diffseg.widgets.parts import box, key, named, quietly, row
from napari_diffseg.widgets.segmented import Choice, Segmented

_PAINTS: tuple[Choice, ...] = (
    ("all", "All", "Paint all that the brush covers"),
    (
        "start",
        "Like the start",
        "Paint only what is as bright as the place where the stroke starts, and "
        "hangs together with the mouse",
    ),
    (
        "range",
        "Range",
        "Paint only intensities in a range that hang together with the mouse",
    ),
)
_LARGEST = 1e7
_SMALL = 10.0  # a range below which decimals matter


class RangeForm(QWidget):
    """All, like the start of the stroke, or from an intensity to another.

    Parameters
    ----------
    handle : str
    """

    changed = Signal(object)  # BrushRange

    def __init__(self, handle: str) -> None:
        super().__init__()
        self._paints = Segmented(handle, _PAINTS)
        # As wide as the panel leaves, from before the style sheet is known.
        self._paints.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._low = self._spin(f"{handle}_low", "Lowest intensity that is painted")
        self._high = self._spin(f"{handle}_high", "Highest intensity that is painted")
        self._ends = box("", row(key("From"), self._low, key("to"), self._high))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        line = row(key("Paints"), self._paints)
        line.setStretch(1, 1)
        whole.addLayout(line)
        whole.addWidget(self._ends)
        self._paints.chosen.connect(lambda _: self._tell())
        self.show_range(BrushRange())

    def _spin(self, handle: str, tip: str) -> QDoubleSpinBox:
        spin = named(QDoubleSpinBox(), handle, tip)
        spin.setRange(-_LARGEST, _LARGEST)
        spin.setKeyboardTracking(False)
        spin.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        spin.setMinimumWidth(70)
        spin.valueChanged.connect(lambda _: self._tell())
        return spin

    def _tell(self) -> None:
        paints = self._paints.current
        self._ends.setVisible(paints == "range")
        low, high = sorted((self._low.value(), self._high.value()))
        self.changed.emit(BrushRange(paints, low, high))  # type: ignore[arg-type]

    def show_range(self, wanted: BrushRange) -> None:
        """Show a range without telling an intent."""
        span = wanted.high - wanted.low
        with quietly(self._low, self._high):
            for spin, value in ((self._low, wanted.low), (self._high, wanted.high)):
                spin.setDecimals(3 if 0 < span < _SMALL else 0)
                spin.setSingleStep(span / 50 if 0 < span < _SMALL else 1 + span // 100)
                spin.setValue(value)
        self._paints.show_current(wanted.paints)
        self._ends.setVisible(wanted.paints == "range")
