"""What the user has in hand, and how masks look: given to the layers in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from napari.components import ViewerModel

from napari_diffseg.layers.hand import Hand
from napari_diffseg.layers.navigation import Navigator
from napari_diffseg.layers.overlays import Overlays
from napari_diffseg.layers.stack import Stack
from napari_diffseg.layers.stacks import Stacks
from napari_diffseg.layers.watch import Intents, Watch
from napari_diffseg.session import Case
from napari_diffseg.views import Tool


class InHand(Intents):
    """A viewer's cases with the user's hand: tool, label, undo, and masks' looks.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._hand = Hand()
        self._navigator = Navigator(viewer)
        self._stacks = Stacks(viewer, self._navigator)
        self._watch = Watch(viewer, self, self._stacks.find)
        self._overlays = Overlays(self._hand)
        self.tool_changed.connect(self._hand.note_tool)
        self.label_changed.connect(self._hand.note_label)

    def set_outline(self, outline: bool) -> None:
        """Show the mask as an outline, or filled."""
        self._hand.outline = outline
        self._dress_all()

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the mask in [0, 1]."""
        self._hand.opacity = float(np.clip(opacity, 0.0, 1.0))
        self._dress_all()

    def set_hidden(self, hidden: bool) -> None:
        """Hide the current case's mask and all that lies on the image."""
        self._with_current(lambda stack: stack.hide(hidden))

    def set_tool(self, tool: Tool) -> None:
        """Put a tool into the user's hand."""
        self._hand.tool = tool
        self._with_current(self._hand.take_up)

    def set_label(self, value: int) -> None:
        """Paint with this label."""
        self._hand.label = value
        self._with_current(self._hand.take_up)

    def undo(self) -> None:
        """Undo the last step in the current mask."""
        self._with_current(Stack.undo)

    def redo(self) -> None:
        """Do it again."""
        self._with_current(Stack.redo)

    @contextmanager
    def _acting(self, case: Case) -> Iterator[Stack | None]:
        with self._watch.quiet():
            yield self._stacks.get(case.id)

    def _with_current(self, call: Callable[[Stack], None]) -> None:
        stack = self._stacks.current
        if stack is not None:
            with self._watch.quiet():
                call(stack)

    def _dress_all(self) -> None:
        with self._watch.quiet():
            for stack in self._stacks.each():
                self._overlays.dress(stack)
