"""What is known of an image, in two lines and its warnings."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_diffseg.views import CaseFacts
from napari_diffseg.widgets.parts import UNIT, Banner, Line


class Facts(QWidget):
    """Size, spacing, orientation and kind of an image, and its warnings."""

    def __init__(self) -> None:
        super().__init__()
        self._size = Line("", role="plain", handle="diffseg.case.size")
        self._size.setToolTip("Size and spacing, in the file's own order of axes")
        self._kind = Line("", handle="diffseg.case.kind")
        self._kind.setToolTip("Orientation and kind")
        self._warnings = Banner("", handle="diffseg.case.warnings")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(UNIT // 4)
        layout.addWidget(self._size)
        layout.addWidget(self._kind)
        layout.addSpacing(UNIT // 4)
        layout.addWidget(self._warnings)

    def show_facts(self, facts: CaseFacts | None) -> None:
        """Show facts; nothing without a case."""
        if facts is None:
            for line in (self._size, self._kind, self._warnings):
                line.say("")
            return
        self._size.say(_times(f"{facts.size}, {facts.spacing}"))
        self._kind.say(f"{facts.orientation}; {facts.kind}")
        self._warnings.tell("\n".join(facts.warnings), "warning")


def _times(text: str) -> str:
    """Write a product with the sign that it is printed with."""
    return text.replace(" x ", " × ")
