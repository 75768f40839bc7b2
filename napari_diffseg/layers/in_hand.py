"""What the user has in hand, and how masks look: given to the layers in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray

from diffseg.domain import Change
from napari_diffseg.layers import making
from napari_diffseg.layers.brush_limit import limit_of
from napari_diffseg.layers.edits import make_change
from napari_diffseg.layers.hand import Hand
from napari_diffseg.layers.mask_layer import MaskLayer
from napari_diffseg.layers.navigation import Navigator
from napari_diffseg.layers.overlays import Overlays
from napari_diffseg.layers.stack import Stack
from napari_diffseg.layers.stacks import Stacks
from napari_diffseg.layers.watch import MODES, Intents, Watch
from napari_diffseg.session import Case
from napari_diffseg.views import BrushRange, Tool


class InHand(Intents):
    """A viewer's cases with the user's hand: tool, label, undo, and masks' looks.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._silent = False
        self._hand = Hand()
        self._navigator = Navigator(viewer)
        self._stacks = Stacks(viewer, self._navigator)
        self._watch = Watch(viewer, self, self._stacks.find, self._bring_back)
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
        """Hide mask and all that lies on the image, of every case looked at."""
        self._hand.hidden = hidden
        self._with_current(self._hide)

    def set_tool(self, tool: Tool) -> None:
        """Put a tool into the user's hand."""
        self._hand.tool = tool
        self._with_current(self._handle)

    def set_label(self, value: int) -> None:
        """Paint with this label."""
        self._hand.label = value
        self._with_current(self._hand.take_up)

    def set_range(self, wanted: BrushRange) -> None:
        """Let brushes paint these intensities only."""
        self._hand.range = wanted
        with self._watch.quiet():
            for stack in self._stacks.each():
                if stack.mask is not None:
                    stack.mask.limit = limit_of(stack.case, wanted)

    def correct(self, case: Case, change: Change) -> None:
        """Change the mask as one undoable step that a person made."""
        with self._acting(case) as stack:
            if stack is not None:
                self._mask(stack).correct(change)
            else:
                make_change(case.annotation, change, by_person=True)

    def show_edit(self, case: Case, change: Change) -> None:
        """Show what a change would do, in a layer that is never saved."""
        with self._acting(case) as stack:
            if stack is not None:
                self._overlays.show_edit(stack, change)

    def end_edit(self, case_id: str) -> None:
        """Take that away."""
        stack = self._stacks.get(case_id)
        if stack is not None:
            with self._watch.quiet():
                stack.drop("preview")

    def show_compared(self, case: Case, values: NDArray[np.uint8], words: str) -> None:
        """Show another mask of a case as lines, in a layer that is never saved."""
        with self._acting(case) as stack:
            if stack is not None:
                stack.drop("compared")
                layer = making.other_mask(case, "compared", values)
                layer.name = making.name_of(case.name, words)
                layer.contour, layer.opacity = 1, 1.0
                stack.put("compared", layer)

    def end_compared(self, case_id: str) -> None:
        """Take that away."""
        stack = self._stacks.get(case_id)
        if stack is not None:
            with self._watch.quiet():
                stack.drop("compared")

    def slice_axis(self, case: Case) -> int:
        """Axis of the source along which one leafs: 0 plane, 1 row, 2 column."""
        return case.display.turn.axes[self._navigator.axis]

    def undo(self) -> None:
        """Undo the last step in the current mask."""
        self._with_current(lambda stack: self._mask(stack).undo())

    def redo(self) -> None:
        """Do it again."""
        self._with_current(lambda stack: self._mask(stack).redo())

    def fall_silent(self) -> None:
        """Tell nobody anything from here on, and leave the layers to napari."""
        super().fall_silent()
        self._silent = True

    def forget_history(self, case: Case) -> None:
        """Nothing of what was drawn so far can be undone, or done again."""
        stack = self._stacks.get(case.id)
        if stack is not None:
            stack.history.clear()

    def _hide(self, stack: Stack) -> None:
        stack.hide(self._hand.hidden)
        # napari gives a layer that is seen again the tool of before.
        self._hand.take_up(stack)

    def _handle(self, stack: Stack) -> None:
        """Give the tool to the mask; one that draws makes it the active layer."""
        mask = self._mask(stack)
        self._hand.take_up(stack)
        if self._hand.tool != "pan" and str(mask.mode) != MODES["pan"]:
            self._viewer.layers.selection.active = mask

    def _mask(self, stack: Stack, *, seen: bool = False) -> MaskLayer:
        """The mask; made again, from what was drawn, where the user deleted it."""
        mask = stack.mask
        if mask is None:
            mask = making.mask(stack.case, stack.history)
            mask.limit = limit_of(stack.case, self._hand.range)
            self._watch.follow(stack.case.id, mask)
            stack.put("mask", mask)
            seen = seen or self._stacks.current is stack
            mask.visible = seen and stack.hidden is None and stack.sees("mask")
            self._overlays.dress(stack)
            self._hand.size(stack, self._navigator.in_slice)
        return mask

    def _bring_back(self, stack: Stack) -> None:
        """Make the mask again that the user deleted alone."""
        if self._silent or stack.mask is not None or stack.get("image") is None:
            return
        with self._watch.quiet():
            mask = self._mask(stack)
            if self._stacks.current is stack:
                self._hand.take_up(stack)
                active = self._viewer.layers.selection.active
                if active is None or stack.role_of(active) == "image":
                    self._viewer.layers.selection.active = mask

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
