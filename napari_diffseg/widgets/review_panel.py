"""Panel "Review": the next place that deserves a look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QSizePolicy

from napari_diffseg.views import Place
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import Line, button, enable, named, row
from napari_diffseg.widgets.strip import Strip
from napari_diffseg.widgets.tone import mark

_EMPTY = "Places that deserve a look appear here with a proposal."
_DONE = "Every place was looked at."
_NONE = "No place is left to look at"
_TIPS = {
    "next": "Go to the next place where members disagree. Key: N",
    "previous": "Go back to the place before. Key: Shift-N",
    "accept": "The mask is right here: tick the place off and go on. Key: A",
}


class ReviewPanel(Panel):
    """The next place that deserves a look; a `ReviewView`."""

    next_requested = Signal()
    previous_requested = Signal()
    accept_requested = Signal()
    slice_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__("review", "Review", "Look where the members disagree")
        self._strip = Strip(
            self.handle("strip"), "Doubt of every slice. Click to go there"
        )
        self._reason = Line("", role="plain", handle=self.handle("reason"))
        self._bar = named(QProgressBar(), self.handle("progress"), "Places looked at")
        self._bar.setTextVisible(False)
        self._seen = Line("", handle=self.handle("seen"))
        self._previous = button(self.handle("previous"), "Previous", _TIPS["previous"])
        self._next = button(self.handle("next"), "Next place", _TIPS["next"])
        self._accept = button(self.handle("accept"), "Looks right", _TIPS["accept"])
        self._buttons = {
            "previous": self._previous,
            "next": self._next,
            "accept": self._accept,
        }
        for made in self._buttons.values():
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.add(self._strip, self._reason)
        self.add(row(self._previous, self._next, self._accept), self._bar, self._seen)
        self._previous.clicked.connect(lambda: self.previous_requested.emit())
        self._next.clicked.connect(lambda: self.next_requested.emit())
        self._accept.clicked.connect(lambda: self.accept_requested.emit())
        self._strip.chosen.connect(self.slice_chosen)
        self.show_place(None, 0, 0, 0)
        self.show_strip(np.zeros(0, np.float32), 0)

    def show_place(
        self, place: Place | None, index: int, total: int, seen: int
    ) -> None:
        """Show the place at hand, or that there is none.

        `index` is 0-based; `total` places were found, `seen` of them looked at.
        """
        if place is not None:
            told = f"Place {index + 1}: {place.reason}"
        else:
            told = "" if total else _EMPTY
            if total and seen >= total:
                told = _DONE
        mark(self._reason, "role", "quiet" if place is None else "plain")
        self._reason.say(told)
        self._bar.setVisible(total > 0)
        self._bar.setRange(0, max(1, total))
        self._bar.setValue(seen)
        self._seen.say(f"{seen} of {total} looked at" if total else "")
        can = {"next": total > 0, "previous": total > 0, "accept": place is not None}
        for name, made in self._buttons.items():
            enable(made, can[name], _TIPS[name], _NONE)

    def show_strip(self, doubts: NDArray[np.float32], here: int) -> None:
        """Show the doubt of each slice (shown order) in [0, 1], and where we are."""
        self._strip.show_doubts(doubts, here)
