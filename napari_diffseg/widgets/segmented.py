"""One of several, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_diffseg.widgets.parts import enable, named

Choice = tuple[str, str, str]
"""Key, text and what it means."""


class Segmented(QWidget):
    """Buttons of which one is chosen; each has the handle ``<handle>.<key>``.

    Parameters
    ----------
    handle : str
        objectName of the whole.
    choices : sequence of (key, text, tip)
    suffix : str
        Put behind the handle of every button, such as ".3" of a row.
    """

    chosen = Signal(str)  # key; only when the user chooses

    def __init__(
        self, handle: str, choices: Sequence[Choice], suffix: str = ""
    ) -> None:
        super().__init__()
        self.setObjectName(handle + suffix)
        self._buttons: dict[str, QPushButton] = {}
        self._tips = {choice: tip for choice, _, tip in choices}
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for index, (choice, text, tip) in enumerate(choices):
            made = named(QPushButton(text), f"{handle}.{choice}{suffix}", tip)
            made.setAccessibleName(f"{text}: {tip}")
            made.setCheckable(True)
            made.setProperty("segment", True)
            made.setProperty("end", _end(index, len(choices)))
            policy = QSizePolicy.Policy
            made.setSizePolicy(policy.Expanding, policy.Fixed)
            made.clicked.connect(lambda _=False, key=choice: self.chosen.emit(key))
            self._group.addButton(made)
            self._buttons[choice] = made
            layout.addWidget(made)

    @property
    def current(self) -> str:
        """Key of what is chosen, or ""."""
        return next((k for k, b in self._buttons.items() if b.isChecked()), "")

    def show_current(self, choice: str) -> None:
        """Show what is chosen without telling an intent; "" is none."""
        self._group.setExclusive(False)
        for key, made in self._buttons.items():
            made.setChecked(key == choice)
        self._group.setExclusive(True)

    def button(self, choice: str) -> QPushButton:
        """The button of one choice."""
        return self._buttons[choice]

    def offer(self, available: Iterable[str], why_not: str) -> None:
        """Let some be chosen; the others say why they cannot be."""
        offered = set(available)
        for choice, made in self._buttons.items():
            enable(made, choice in offered, self._tips[choice], why_not)


def _end(index: int, count: int) -> str:
    if index == count - 1:
        return "last"
    return "middle" if index else "first"
