"""Where an image without millimetres is given them."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

from napari_diffseg.widgets.parts import box, button, key, named, row

_AXES = (("plane", "Planes"), ("row", "Rows"), ("column", "Columns"))


class SpacingForm(QWidget):
    """Three distances in mm and a button."""

    given = Signal(float, float, float)  # mm between planes, rows, columns

    def __init__(self, handle: str) -> None:
        super().__init__()
        self.setObjectName(handle)
        self._boxes: list[QDoubleSpinBox] = []
        fields = []
        for name, title in _AXES:
            spin = named(
                QDoubleSpinBox(),
                f"{handle}.{name}",
                f"{title}: distance from one to the next, in mm",
            )
            spin.setRange(0.001, 100.0)
            spin.setDecimals(3)
            spin.setValue(1.0)
            self._boxes.append(spin)
            label = key(title)
            label.setBuddy(spin)
            fields.append(box("", label, spin, spacing=2))
        apply = button(f"{handle}.apply", "Apply", "Show and measure in these mm")
        apply.clicked.connect(self._give)
        whole = box("", row(*fields), row(1, apply))
        layout = row(whole)
        self.setLayout(layout)

    def _give(self) -> None:
        plane, line, column = (spin.value() for spin in self._boxes)
        self.given.emit(plane, line, column)
