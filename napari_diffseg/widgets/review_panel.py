"""Panel "Review": the next place that deserves a look."""

from __future__ import annotations

from collections.abc import Sequence

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
_NONE = "No place is left to look at"
_OVER = "This place was looked at already"
_TIPS = {
    "next": "Go to the next place that was not looked at. Key: N",
    "previous": "Go back to the place before, looked at or not. Key: Shift-N",
    "accept": "The mask is right here: tick the place off and go on. Key: A",
}

_LEAD = (
    "Go to the slice of this case that deserves a look most and was not looked at; "
    "else save, and open the case that does. Key: T"
)


class ReviewPanel(Panel):
    """The next place that deserves a look; a `ReviewView`."""

    next_requested = Signal()
    previous_requested = Signal()
    accept_requested = Signal()
    slice_chosen = Signal(int)
    lead_requested = Signal()

    def __init__(self) -> None:
        super().__init__("review", "Review", "Look where the members disagree")
        self._strip = Strip(
            self.handle("strip"),
            "Doubt by slice, with a mark for each place: filled is still open. A bar "
            "on top: looked at. Click to go there",
        )
        self._reason = Line("", role="plain", handle=self.handle("reason"))
        self._bar = named(QProgressBar(), self.handle("progress"), "Places looked at")
        self._bar.setTextVisible(False)
        self._seen = Line("", handle=self.handle("seen"))
        self._previous = button(self.handle("previous"), "Previous", _TIPS["previous"])
        self._next = button(self.handle("next"), "Next place", _TIPS["next"])
        self._accept = button(self.handle("accept"), "Looks right", _TIPS["accept"])
        self._lead = button(self.handle("lead"), "Lead me on", _LEAD)
        self._lead.clicked.connect(lambda: self.lead_requested.emit())
        self._buttons = {
            "previous": self._previous,
            "next": self._next,
            "accept": self._accept,
        }
        for made in self._buttons.values():
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.add(self._strip, self._reason)
        self.add(row(self._previous, self._next, self._accept), self._bar, self._seen)
        self.add(self._lead)
        self.set_lead(False)
        self._previous.clicked.connect(lambda: self.previous_requested.emit())
        self._next.clicked.connect(lambda: self.next_requested.emit())
        self._accept.clicked.connect(lambda: self.accept_requested.emit())
        self._strip.chosen.connect(self.slice_chosen)
        self.show_place(None, 0, 0, 0)
        self.show_strip(np.zeros(0, np.float32), 0)

    def show_place(
        self,
        place: Place | None,
        index: int,
        total: int,
        seen: int,
        *,
        accepted: bool = False,
        told: str = "",
    ) -> None:
        """Show the place at hand, or that there is none.

        `index` is 0-based; `total` places were found, `seen` of them looked at,
        the one at hand among them where `accepted`. `told` says why a proposal has
        no places.
        """
        done = total > 0 and seen >= total
        if place is not None:
            state = " (looked at)" if accepted else ""
            words = f"Place {index + 1}{state}: {place.reason}"
        elif done:
            words = f"All {total} places looked at" if total > 1 else "Looked at"
        else:
            words = told or ("" if total else _EMPTY)
        quiet = place is None or accepted
        mark(self._reason, "role", "quiet" if quiet else "plain")
        self._reason.say(words)
        self._bar.setVisible(total > 0)
        self._bar.setRange(0, max(1, total))
        self._bar.setValue(seen)
        self._seen.say(f"{seen} of {total} looked at" if total else "")
        can = {
            "next": total > 0 and not done,
            "previous": total > 0,
            "accept": place is not None and not accepted,
        }
        why = {"accept": _OVER if place is not None else _NONE}
        for name, made in self._buttons.items():
            enable(made, can[name], _TIPS[name], why.get(name, _NONE))

    def set_lead(self, usable: bool) -> None:
        """Whether there is a project to be led through."""
        self._lead.setVisible(usable)

    def show_strip(
        self,
        doubts: NDArray[np.float32],
        here: int,
        *,
        title: str = "",
        where: str = "",
        marks: Sequence[tuple[int, bool]] = (),
        seen: Sequence[int] = (),
    ) -> None:
        """Show the doubt of each slice (shown order) in [0, 1], and where we are."""
        self._strip.show_doubts(
            doubts, here, title=title, where=where, marks=marks, seen=seen
        )
