"""The brush's radius, as a slider and as a number."""

from __future__ import annotations

from math import exp, log

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QSlider, QWidget

from napari_diffseg.widgets.parts import key, named, quietly, row

_SMALLEST, _LARGEST = 0.1, 100.0
_STOPS = 200


class BrushForm(QWidget):
    """A radius between 0.1 and 100; the slider is logarithmic."""

    changed = Signal(float)

    def __init__(self, handle: str) -> None:
        super().__init__()
        tip = "Radius of the brush"
        self._slider = named(
            QSlider(Qt.Orientation.Horizontal), f"{handle}.brush_slider", tip
        )
        self._slider.setRange(0, _STOPS)
        self._spin = named(QDoubleSpinBox(), f"{handle}.brush", tip)
        self._spin.setRange(_SMALLEST, _LARGEST)
        self._spin.setDecimals(1)
        self._spin.setSingleStep(0.5)
        self._spin.setKeyboardTracking(False)
        self._spin.setFixedWidth(104)
        label = key("Brush")
        label.setBuddy(self._spin)
        self.setLayout(row(label, self._slider, self._spin))
        self._slider.valueChanged.connect(lambda stop: self._tell(_radius(stop)))
        self._spin.valueChanged.connect(self._tell)
        self.show_radius(3.0, "mm")

    def _tell(self, radius: float) -> None:
        self._show(radius)
        self.changed.emit(self._spin.value())

    def _show(self, radius: float) -> None:
        with quietly(self._slider, self._spin):
            self._spin.setValue(radius)
            self._slider.setValue(_stop(radius))

    def show_radius(self, radius: float, unit: str) -> None:
        """Show a radius in `unit` without telling an intent."""
        self._spin.setSuffix(f" {unit}")
        self._show(radius)


def _radius(stop: int) -> float:
    share = stop / _STOPS
    return exp(log(_SMALLEST) + share * (log(_LARGEST) - log(_SMALLEST)))


def _stop(radius: float) -> int:
    share = log(max(radius, _SMALLEST) / _SMALLEST) / log(_LARGEST / _SMALLEST)
    return round(_STOPS * share)
