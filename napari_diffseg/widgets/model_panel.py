"""Panel "Model": which, under what licence, how good, and where it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox

from diffseg.domain import ModelCard
from diffseg.engine.events import Machine
from napari_diffseg.views import ModelChoice
from napari_diffseg.widgets.brief import Choice
from napari_diffseg.widgets.cache_form import CacheForm
from napari_diffseg.widgets.calibration_form import CalibrationForm
from napari_diffseg.widgets.card_dialog import CardDialog
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    Banner,
    Line,
    button,
    enable,
    fill_combo,
    key,
    named,
    narrow,
    row,
)

_GIB = 2**30
_CARD_TIP = "Read what the model is for, what it was trained on and how good it is"
_MODELS_TIP = "Models that are installed"
_NO_MODEL = "Choose a model first"
_DEVICES = (
    ("auto", "Automatic"),
    ("cpu", "CPU"),
    ("mps", "GPU (MPS)") if sys.platform == "darwin" else ("cuda", "GPU (CUDA)"),
)


class ModelPanel(Panel):
    """Choice, card, licence and device; a `ModelView`."""

    model_chosen = Signal(str)
    device_chosen = Signal(str)
    card_requested = Signal()

    def __init__(self) -> None:
        super().__init__("model", "Model", "What proposes, and where it runs")
        self._card: ModelCard | None = None
        self._dialog: CardDialog | None = None
        self._models = named(Choice(), self.handle("choice"), _MODELS_TIP)
        self._models.setPlaceholderText("Choose a model")
        self._licence = Line("", handle=self.handle("licence"))
        self._open = button(self.handle("card"), "Card…", _CARD_TIP)
        self._device = narrow(
            named(
                QComboBox(),
                self.handle("device"),
                "Where the model runs. Automatic takes a GPU where there is one",
            )
        )
        fill_combo(self._device, list(_DEVICES), "auto")
        self._banner = Banner("", handle="diffseg.device.banner")
        self._banner.setAccessibleName("Device")
        self.add(row(self._models, self._open), self._licence)
        runs_on = key("Runs on")
        runs_on.setBuddy(self._device)
        self.calibration = CalibrationForm("diffseg.calibration")
        self.cache = CacheForm("diffseg.cache")
        self.add(row(runs_on, self._device), self._banner)
        self.add(self.cache, self.calibration)
        self._models.activated.connect(
            lambda index: self.model_chosen.emit(self._models.itemData(index))
        )
        self._models.currentIndexChanged.connect(lambda _: self._show_whole())
        self._device.activated.connect(
            lambda index: self.device_chosen.emit(self._device.itemData(index))
        )
        self._open.clicked.connect(self._tell_card)
        self.show_card(None)
        self.show_machine(None, "starting")

    def set_models(self, choices: Sequence[ModelChoice], current: str) -> None:
        """List the models."""
        fill_combo(self._models, [(c.name, c.title) for c in choices], current)
        self._show_whole()

    def _show_whole(self) -> None:
        """Tell the chosen model's whole name where it may be cut."""
        name = self._models.currentText()
        self._models.setToolTip(f"{name}. {_MODELS_TIP}" if name else _MODELS_TIP)

    def show_card(self, card: ModelCard | None) -> None:
        """Show the licence; the rest stands in the card that can be opened."""
        self._card = card
        told = "" if card is None else f"{card.id} {card.version} · {card.licence}"
        self._licence.say(told)
        enable(self._open, card is not None, _CARD_TIP, _NO_MODEL)

    def _tell_card(self) -> None:
        self.card_requested.emit()
        if self._card is not None:
            self._dialog = CardDialog(self._card, self)
            self._dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            self._dialog.show()

    def show_machine(self, machine: Machine | None, state: str) -> None:
        """Show where models run; with a reason, lastingly, when on the CPU."""
        if state == "starting":
            self._banner.tell("The engine is starting…", "info")
        elif state != "ready":
            self._banner.tell(state, "error")
        elif machine is None:
            self._banner.tell("", "quiet")
        elif machine.why_cpu:
            self._banner.tell(
                f"On the CPU, which is slow: {machine.why_cpu}. {machine.name}.",
                "warning",
            )
        else:
            memory = machine.memory_bytes / _GIB
            self._banner.tell(f"{machine.name}, {memory:.0f} GiB free", "quiet")
