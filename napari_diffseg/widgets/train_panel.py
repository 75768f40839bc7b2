"""Panel "Train": a model learns from corrections, behind a gate, with a way back."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QProgressBar, QSizePolicy

from napari_diffseg.views import (
    LearningCurve,
    Side,
    TrainState,
    TrainVerdict,
    Version,
    WeakState,
)
from napari_diffseg.widgets.curve_plot import CurvePlot
from napari_diffseg.widgets.dice_field import dice_field
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    UNIT,
    Banner,
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
from napari_diffseg.widgets.segmented import Choice, Segmented
from napari_diffseg.widgets.tone import mark
from napari_diffseg.widgets.train_tables import CaseTicks, ClassTable, VersionTree

_RUN = "Learn from the ticked cases; a worse model is refused by the held-out ones"
_CANCEL = "Stop learning; the model stays as it was"
_SELF_TRAIN = (
    "Train a segmenter from these weak masks and all corrections; one that is worse "
    "than the weak model is refused by the held-out cases"
)
_RESUME = "Go on with the run that was broken off"
_BACK = "Let the model be the version that this one came from; nothing is removed"
_USE = "Let the model be the version that is marked"
_IN_USE = "This version is in use"
_NO_PARENT = "This version came from no other"
_SIDES: tuple[Choice, ...] = (
    ("off", "Yours only", "Show the mask in hand alone"),
    ("before", "Before", "Draw the model's mask as it was as lines over yours"),
    ("after", "After", "Draw the model's mask as it became as lines over yours"),
)
_NO_PROJECT = "open a project first"
_NO_RECIPE = "No recipe fits the weak model"
_SCALE = 1000


class TrainPanel(Panel):
    """Cases, start, curve, verdict and versions; a `TrainView`."""

    looked = Signal(bool)
    case_ticked = Signal(str, bool)
    run_requested = Signal(object, float, float)
    self_train_requested = Signal(str, object, float, float)
    resume_requested = Signal()
    cancel_requested = Signal()
    compare_requested = Signal(str, str)
    version_chosen = Signal(str)
    rollback_requested = Signal()

    def __init__(self) -> None:
        super().__init__("train", "Train", "The model learns from what was corrected")
        self._running = False
        self._versions: tuple[Version, ...] = ()
        self._weak = WeakState(why_not=_NO_PROJECT, weak=False)
        self._build_start()
        self._build_weak()
        self._build_busy()
        self._build_verdict()
        self._build_versions()
        self.add(
            self._start,
            self._weak_box,
            self._busy,
            self._plot,
            self._ended,
            self._tree_box,
        )
        self._wire()
        self.show_state(TrainState(why_not=_NO_PROJECT))
        self.show_progress("", None)
        self.show_verdict(None)
        self.show_versions((), "")
        self.fold(True)

    def _build_start(self) -> None:
        self._cases = CaseTicks(self.handle("cases"))
        self._summary = Line("", handle=self.handle("summary"))
        self._minutes = named(
            QDoubleSpinBox(),
            self.handle("minutes"),
            "Minutes of learning; the recipe's own number of steps without any",
        )
        self._minutes.setRange(0, 600)
        self._minutes.setDecimals(1)
        self._minutes.setSuffix(" min")
        self._minutes.setSpecialValueText("by recipe")
        self._tolerance = dice_field(self.handle("tolerance"), "a structure", 0.01)
        self._overall = dice_field(
            self.handle("overall_tolerance"), "the mean of all", 0.0
        )
        self._run = button(self.handle("run"), "Fine-tune", _RUN)
        self._run.setProperty("big", True)
        self._resume = button(self.handle("resume"), "Go on", _RESUME)
        for made in (self._run, self._resume):
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._why = Line("", handle=self.handle("why_not"))
        self._start = box(
            "",
            self._cases,
            self._summary,
            row(key("Learn for"), self._minutes),
            row(key("A structure may lose"), self._tolerance),
            row(key("Their mean may lose"), self._overall),
            row(self._run, self._resume),
            self._why,
        )

    def _build_weak(self) -> None:
        self._recipe = narrow(
            named(QComboBox(), self.handle("recipe"), "Which segmenter is trained")
        )
        self._self_train = button(
            self.handle("self_train"), "Train from weak masks", _SELF_TRAIN
        )
        self._self_train.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        self._weak_line = Line("", handle=self.handle("weak"))
        self._weak_box = box(
            "",
            row(key("Segmenter"), self._recipe),
            row(self._self_train),
            self._weak_line,
        )

    def _build_busy(self) -> None:
        self._bar = named(QProgressBar(), self.handle("progress"), "How far it is")
        self._bar.setTextVisible(False)
        self._message = Line("", handle=self.handle("message"))
        self._cancel = button(self.handle("cancel"), "Cancel", _CANCEL)
        line = row(self._message, self._cancel)
        line.setStretch(0, 1)
        self._busy = box(self.handle("busy"), self._bar, line)
        self._plot = CurvePlot(self.handle("curve"))

    def _build_verdict(self) -> None:
        self._verdict = Banner("", handle=self.handle("verdict"))
        self._classes = ClassTable(self.handle("classes"))
        self._held = narrow(
            named(QComboBox(), self.handle("held_out"), "Which held-out case is shown")
        )
        self._side = Segmented(self.handle("side"), _SIDES)
        self._ended = box(
            self.handle("ended"),
            self._verdict,
            self._classes,
            row(key("Held-out case"), self._held),
            self._side,
            spacing=UNIT * 3 // 4,
        )

    def _build_versions(self) -> None:
        self._tree = VersionTree(self.handle("versions"))
        self._use = button(self.handle("use"), "Use", _USE)
        self._back = button(self.handle("rollback"), "Roll back", _BACK)
        for made in (self._use, self._back):
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._tree_box = box(
            "", key("Versions"), self._tree, row(self._use, self._back)
        )

    def _wire(self) -> None:
        self._cases.ticked.connect(self.case_ticked)
        self._run.clicked.connect(
            lambda: self.run_requested.emit(
                self._minutes.value() or None,
                self._tolerance.value(),
                self._overall.value(),
            )
        )
        self._self_train.clicked.connect(
            lambda: self.self_train_requested.emit(
                self._recipe.currentText(),
                self._minutes.value() or None,
                self._tolerance.value(),
                self._overall.value(),
            )
        )
        self._resume.clicked.connect(lambda: self.resume_requested.emit())
        self._cancel.clicked.connect(lambda: self.cancel_requested.emit())
        self._side.chosen.connect(self._compare)
        self._held.activated.connect(lambda _: self._compare(self._side.current))
        self._tree.chosen.connect(self.version_chosen)
        self._tree.picked.connect(self._show_use)
        self._use.clicked.connect(lambda: self.version_chosen.emit(self._tree.at_hand))
        self._back.clicked.connect(lambda: self.rollback_requested.emit())

    def fold(self, folded: bool) -> None:
        """Show only the headline, or the whole panel; cases are counted when open."""
        changed = folded != self.folded
        super().fold(folded)
        if changed:
            self.looked.emit(not folded)

    def _compare(self, side: str) -> None:
        self.compare_requested.emit(str(self._held.currentData() or ""), side or "off")

    def show_state(self, state: TrainState) -> None:
        """Show what would be learnt from, and what can be done."""
        self._running = state.running
        self._cases.show_cases(state.cases, usable=not state.running)
        self._summary.say(state.line)
        can = not state.why_not and not state.running
        enable(self._run, can, _RUN, state.why_not or "It is learning")
        mark(self._run, "primary", can)
        self._run.setVisible(not state.running)
        self._resume.setVisible(state.resumable)
        self._why.say(state.why_not)
        for made in (self._minutes, self._tolerance, self._overall):
            made.setEnabled(not state.running)
        self._busy.setVisible(state.running)
        word = "learning" if state.running else ""
        self.say_aside(word or "fine-tune on corrections")
        self.show_weak(self._weak)

    def show_weak(self, state: WeakState) -> None:
        """Show what weak masks could teach; nothing starts while something learns."""
        chosen = self._recipe.currentText()
        if state.recipes != self._weak.recipes or not self._recipe.count():
            entries = [(name, name) for name in state.recipes]
            first = next(iter(state.recipes), None)
            kept = chosen if chosen in state.recipes else first
            fill_combo(self._recipe, entries, kept)
        self._weak = state
        can = not state.why_not and bool(state.recipes) and not self._running
        why = "It is learning" if self._running else state.why_not or _NO_RECIPE
        enable(self._self_train, can, _SELF_TRAIN, why)
        self._recipe.setEnabled(can)
        self._weak_line.say("" if self._running else state.line or state.why_not)
        self._weak_box.setVisible(state.weak)

    def show_progress(self, message: str, fraction: float | None) -> None:
        """Show how far it is; `fraction` in [0, 1], None while unknown."""
        self._message.say(message)
        self._bar.setRange(0, 0 if fraction is None and message else _SCALE)
        self._bar.setValue(round(_SCALE * (fraction or 0)))

    def show_curve(self, curve: LearningCurve) -> None:
        """Draw the live curve; nothing at all without a point."""
        self._plot.show_curve(curve)

    def show_verdict(self, verdict: TrainVerdict | None) -> None:
        """Show how it ended."""
        self._ended.setVisible(verdict is not None)
        if verdict is None:
            return
        text = f"{verdict.model} {verdict.sentence}"
        self._verdict.tell(text, "info" if verdict.kept else "warning")
        self._classes.show_classes(verdict.classes)
        fill_combo(
            self._held,
            list(verdict.held_out),
            verdict.held_out[0][0] if verdict.held_out else None,
        )
        self.show_side("off")

    def show_side(self, side: Side) -> None:
        """Show whose mask is shown, without telling an intent."""
        self._side.show_current(side)

    def show_versions(self, versions: Sequence[Version], back_to: str) -> None:
        """Show the tree; `back_to` is the parent's version, "" without one."""
        self._versions = tuple(versions)
        self._tree.show_versions(versions)
        self._tree_box.setVisible(bool(versions))
        self._back.setText(f"Back to {back_to}" if back_to else "Roll back")
        enable(self._back, bool(back_to), _BACK, _NO_PARENT)
        self._show_use()

    def _show_use(self) -> None:
        at_hand = self._tree.at_hand
        other = any(one.name == at_hand and not one.current for one in self._versions)
        enable(self._use, other, _USE, _IN_USE)
        self._use.setText(f"Use {at_hand.partition('@')[2]}" if other else "Use")
