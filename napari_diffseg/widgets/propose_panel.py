"""Panel "Propose": how much, how often, and go."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QMenu,
    QProgressBar,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QWidget,
)

from napari_diffseg.session import Busy
from napari_diffseg.views import Scope
from napari_diffseg.widgets.brief import Brief
from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import (
    Banner,
    Line,
    box,
    button,
    enable,
    key,
    named,
    quietly,
    row,
    sentence,
)
from napari_diffseg.widgets.questions import replace_question
from napari_diffseg.widgets.segmented import Segmented
from napari_diffseg.widgets.tone import mark

_SCOPES = (
    ("slice", "Slice", "Propose on the slice that is looked at"),
    ("region", "Region", "Propose inside a box that you draw"),
    ("volume", "Volume", "Propose on the whole image"),
)
_RUN_TIP = "Draw an ensemble of masks and show what they agree on. Key: G"
_MORE_TIP = "Propose on all open images"
_LARGEST_SEED = 2**31 - 1
_SEED_STRIDE = 1_000_003  # Prime: another seed each time, the same ones each time.


class ProposePanel(Panel):
    """Scope, ensemble, run and cancel; a `ProposeView`."""

    run_requested = Signal()
    run_all_requested = Signal()
    cancel_requested = Signal()
    scope_chosen = Signal(str)
    settings_changed = Signal(int, int, int)

    def __init__(self) -> None:
        super().__init__("propose", "Propose", "Ask the model for a mask")
        self._ready, self._why, self._busy = False, "", False
        self._scopes = Segmented(self.handle("scope"), _SCOPES)
        self._scopes.show_current("volume")
        self._note = Line("", handle=self.handle("note"))
        self._build_settings()
        self._build_run()
        self._build_progress()
        self._plan = Line("", handle=self.handle("plan"))
        self._why_not = Line("", handle=self.handle("why_not"))
        self.add(self._scopes, self._note, self._settings)
        self.add(row(self._run, self._more), self._progress)
        self._doubts = Banner("", handle=self.handle("doubts"))
        self.add(self._plan, self._why_not, self._doubts)
        self._wire()
        self.set_ready(False, "Open an image first.")
        self.set_busy(None)

    def _spin(self, action: str, tip: str, low: int, high: int) -> QSpinBox:
        spin = named(QSpinBox(), self.handle(action), tip)
        spin.setRange(low, high)
        spin.setKeyboardTracking(False)
        spin.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        spin.setMinimumWidth(70)
        spin.setMaximumWidth(160)
        spin.valueChanged.connect(lambda _: self._tell_settings())
        return spin

    def _build_settings(self) -> None:
        self._members = self._spin(
            "members",
            "Masks to draw. How far they differ is the uncertainty",
            1,
            64,
        )
        self._steps = self._spin(
            "steps", "Denoising steps for each member. More is slower", 1, 1000
        )
        self._seed = self._spin(
            "seed", "The same seed gives the same proposal", 0, _LARGEST_SEED
        )
        self._dice = IconButton(
            self.handle("reseed"), "dice", "Take another seed: other members"
        )
        columns = []
        for title, spin in (("Members", self._members), ("Steps", self._steps)):
            columns.append(_column(title, spin))
        columns.append(_column("Seed", self._seed, self._dice))
        self._settings = box("", row(*columns))

    def _build_run(self) -> None:
        self._run = button(self.handle("run"), "Propose", _RUN_TIP)
        self._run.setProperty("big", True)
        self._run.setProperty("primary", True)
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._all = QAction("Propose on all open images", self)
        self._all.setObjectName(self.handle("run_all"))
        self._all.setToolTip("One after the other, with the same settings")
        self._more = IconButton(self.handle("more"), "chevron-down", _MORE_TIP)
        self._more.setProperty("big", True)
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self._more)
        menu.setObjectName(self.handle("menu"))
        menu.setToolTipsVisible(True)
        menu.addAction(self._all)
        self._more.setMenu(menu)

    def _build_progress(self) -> None:
        self._bar = named(QProgressBar(), self.handle("progress"), "How far it is")
        self._bar.setTextVisible(False)
        self._message = Brief("", role="plain", handle=self.handle("message"))
        self._cancel = button(self.handle("cancel"), "Cancel", "Stop. Key: Esc")
        hint = key("Esc")
        line = row(self._message, hint, self._cancel)
        line.setStretch(0, 1)
        self._progress = box(self.handle("busy"), self._bar, line)

    def _wire(self) -> None:
        self._scopes.chosen.connect(self.scope_chosen)
        self._dice.clicked.connect(self._take_another_seed)
        self._run.clicked.connect(lambda: self.run_requested.emit())
        self._all.triggered.connect(lambda: self.run_all_requested.emit())
        self._cancel.clicked.connect(lambda: self.cancel_requested.emit())

    def _tell_settings(self) -> None:
        self.settings_changed.emit(
            self._members.value(), self._steps.value(), self._seed.value()
        )

    def _take_another_seed(self) -> None:
        self._seed.setValue((self._seed.value() + _SEED_STRIDE) % (_LARGEST_SEED + 1))

    def set_settings(self, members: int, steps: int, seed: int) -> None:
        """Show the ensemble's settings without telling an intent."""
        with quietly(self._members, self._steps, self._seed):
            self._members.setValue(members)
            self._steps.setValue(steps)
            self._seed.setValue(seed)

    def set_scope(self, scope: Scope, note: str) -> None:
        """Show the scope, and in words what it covers or what is missing."""
        self._scopes.show_current(scope)
        self._note.say(note)

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether a run can start, and if not what to do first."""
        self._ready, self._why = ready, why_not
        self._show_state()

    def show_doubts(self, lines: Sequence[str]) -> None:
        """Show what makes a run doubtful, though it can start."""
        self._doubts.tell("\n".join(sentence(line) for line in lines), "warning")

    def set_plan(self, text: str) -> None:
        """Show the estimate ("about 7 s, 1.1 GB"), or ""."""
        self._plan.say(text)

    def set_busy(self, busy: Busy | None) -> None:
        """Show progress and the way to cancel, or that nothing runs."""
        before, self._busy = self._busy, busy is not None
        # A bar paints the whole window at once, unless it may not paint itself.
        self._bar.setUpdatesEnabled(False)
        if busy is not None:
            known = busy.fraction is not None
            self._bar.setRange(0, 1000 if known else 0)
            self._bar.setValue(round(1000 * (busy.fraction or 0.0)))
            self._message.say(_in_words(busy))
        else:
            self._bar.setRange(0, 1000)
            self._bar.reset()
        self._bar.setUpdatesEnabled(True)
        if self._busy != before:
            self._show_state()

    def _show_state(self) -> None:
        can = self._ready and not self._busy
        why = "Something is being proposed already" if self._busy else self._why
        enable(self._run, can, _RUN_TIP, why)
        enable(self._more, can, _MORE_TIP, why)
        self._all.setEnabled(can)
        self._run.setText("Proposing…" if self._busy else "Propose")
        mark(self._run, "primary", can)
        self._progress.setVisible(self._busy)
        self._cancel.setEnabled(self._busy)
        self._why_not.say("" if self._ready or self._busy else self._why)

    def ask_replace(self, touched: int, word: str = "voxel") -> bool | None:
        """Ask whether to replace what was drawn: keep (False), replace, give up."""
        asked = replace_question(self, touched, word)
        asked.exec()
        return {"keep": False, "replace": True}.get(asked.answer)


def _column(title: str, *parts: QSpinBox | IconButton) -> QWidget:
    label = key(title)
    label.setBuddy(parts[0])
    inner = row(*parts)
    inner.setSpacing(4)
    return box("", label, inner, spacing=2)


def _in_words(busy: Busy) -> str:
    """How long it still takes comes first, as the end may be cut."""
    words = []
    if busy.seconds_left is not None:
        words.append(f"about {max(1, round(busy.seconds_left))} s left")
    if busy.fraction is not None:
        words.append(f"{busy.fraction:.0%}")
    return ": ".join([", ".join(words), busy.message] if words else [busy.message])
