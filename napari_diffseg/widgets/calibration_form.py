"""Calibration: a part of panel "Model" that folds."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_diffseg.views import CalibrationFacts, DiceLine
from napari_diffseg.widgets.curve_plot import ReliabilityPlot
from napari_diffseg.widgets.folding import FoldingForm
from napari_diffseg.widgets.parts import (
    UNIT,
    Line,
    box,
    button,
    enable,
    fill_combo,
    key,
    named,
    narrow,
    row,
)
from napari_diffseg.widgets.train_tables import DiceTable

_FOLD = "How far the model's probabilities can be trusted, and how to make them so"
_RUN = "Fit the model's probabilities to what was reviewed; kept as a version"
_CANCEL = "Stop; the model stays as it was"


class CalibrationForm(FoldingForm):
    """Reliability, expected Dice, and fitting anew; a `CalibrationView`.

    Parameters
    ----------
    prefix : str
        Of the handles.
    """

    run_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix, "Calibration", _FOLD)
        self._facts = CalibrationFacts()
        self._line = Line("", handle=f"{prefix}.line")
        self._curves = narrow(
            named(QComboBox(), f"{prefix}.structure", "Of what the diagram is shown")
        )
        self._of = box("", row(key("Reliability of"), self._curves))
        self._plot = ReliabilityPlot(f"{prefix}.diagram")
        self._dice = DiceTable(f"{prefix}.dice")
        self._run = button(f"{prefix}.run", "Calibrate from reviewed cases", _RUN)
        self._cancel = button(f"{prefix}.cancel", "Cancel", _CANCEL)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._said = Line("", handle=f"{prefix}.said")
        body = box(
            "",
            self._line,
            self._of,
            self._plot,
            self._dice,
            row(self._run, self._cancel),
            self._said,
            spacing=UNIT * 3 // 4,
        )
        self._lay(body)
        self._curves.currentIndexChanged.connect(lambda _: self._draw())
        self._run.clicked.connect(lambda: self.run_requested.emit())
        self._cancel.clicked.connect(lambda: self.cancel_requested.emit())
        self.show_facts(CalibrationFacts())
        self.show_dice(())
        self.show_ready("", "", running=False)

    def show_facts(self, facts: CalibrationFacts) -> None:
        """Show the model's calibration before and after."""
        before = self._curves.currentData()
        self._facts = facts
        self._line.say(facts.line)
        names = [(one.name, one.name) for one in facts.curves]
        known = [name for name, _ in names]
        current = before if before in known else (known[0] if known else None)
        fill_combo(self._curves, names, current)
        self._of.setVisible(bool(names))
        self._draw()

    def show_dice(self, lines: Sequence[DiceLine]) -> None:
        """Show what Dice is expected of the proposal at hand."""
        self._dice.show_lines(lines)

    def show_ready(self, line: str, why_not: str, *, running: bool) -> None:
        """Show what it would be fitted on, or why it cannot be, or how far it is."""
        enable(self._run, not why_not and not running, _RUN, why_not or line)
        self._cancel.setVisible(running)
        self._said.say(why_not or line)

    def _draw(self) -> None:
        at = self._curves.currentIndex()
        curves = self._facts.curves
        self._plot.show_reliability(curves[at] if 0 <= at < len(curves) else None)
