"""The viewer as presenters see it: cases, their layers, and where one looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from diffseg.domain import Proposal, Region
from diffseg.domain.preview import Preview
from diffseg.project.annotation import Change
from napari_diffseg.layers import making
from napari_diffseg.layers.edits import make_change
from napari_diffseg.layers.in_hand import InHand
from napari_diffseg.layers.navigation import AXIS
from napari_diffseg.layers.stack import Stack
from napari_diffseg.layers.watch import Turns
from napari_diffseg.session import Case
from napari_diffseg.views import Plane, Shown


class NapariCanvas(InHand):
    """The `Canvas` of a napari viewer.

    Every case is a stack of layers, known as objects: the user may rename, move,
    hide or delete any of them. A mask that was deleted alone comes back, with what
    was drawn, as soon as it is needed; deleting the image closes the case.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self._turns = Turns()
        viewer.dims.events.order.connect(self._on_plane)
        viewer.dims.events.ndisplay.connect(self._on_plane)
        viewer.mouse_drag_callbacks.append(self._on_press)

    # Cases

    def show_case(self, case: Case) -> None:
        """Add the image and its editable mask, and look at it."""
        with self._watch.quiet():
            stack = self._stacks.add(case)
            self._stacks.leave(stack)
            if stack.get("image") is None:
                for role, layer in making.images(case).items():
                    stack.put(role, layer)
        self.look_at(case)

    def replace_image(self, case: Case, *layers: Layer) -> None:
        """Show a case in place of the image layers that it was made of."""
        with self._watch.quiet():
            for layer in layers:
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        self.show_case(case)

    def holds(self, layer: Layer) -> bool:
        """Whether a layer is still in the viewer."""
        return layer in self._viewer.layers

    def forget_case(self, case_id: str) -> None:
        """Remove every layer of a case."""
        with self._watch.quiet():
            stack = self._stacks.get(case_id)
            if stack is not None and stack.get("proposing") is not None:
                self._overlays.end_preview(stack)
            self._overlays.forget(case_id)
            self._stacks.forget(case_id)
        self._watch.soon(self._stacks.let_go)

    def tell_images(self) -> None:
        """Tell `image_added` of every image of others that is there already."""
        self._watch.tell_images()

    def look_at(self, case: Case) -> None:
        """Make a case's layers the visible ones and its mask the active layer."""
        stack = self._stacks.get(case.id)
        if stack is None:
            return
        with self._watch.quiet():
            self._stacks.leave(stack)
            mask = self._mask(stack, seen=True)
            stack.wake()
            stack.hide(self._hand.hidden)
            self._viewer.layers.selection.active = mask
            self._stacks.arrive(stack)
            self._hand.take_up(stack)
            self._size(stack)
            self._orient()
        self.moved.emit()

    def show_table(self, case: Case) -> None:
        """Give the mask the names and colours of the case's table."""
        with self._acting(case) as stack:
            if stack is not None:
                self._mask(stack)
                self._overlays.colour(stack)
                self._hand.take_up(stack)

    # What is proposed

    def begin_preview(self, case: Case) -> None:
        """Make room for slices that appear while a proposal is made."""
        with self._acting(case) as stack:
            if stack is not None:
                self._overlays.begin_preview(stack, seen=self._stacks.current is stack)

    def show_preview(self, case: Case, preview: Preview) -> None:
        """Put slices there."""
        with self._acting(case) as stack:
            if stack is not None:
                self._overlays.show_preview(stack, preview)

    def end_preview(self, case_id: str) -> None:
        """Take them away."""
        with self._watch.quiet():
            self._overlays.end_preview(self._stacks.get(case_id))

    def apply(self, case: Case, change: Change) -> None:
        """Change the mask as one undoable step; marks nothing as touched."""
        with self._acting(case) as stack:
            if stack is not None:
                self._mask(stack).apply(change)
            else:
                make_change(case.annotation, change)

    def prepare_proposal(self, case: Case, proposal: Proposal) -> None:
        """Do ahead what `show_proposal` has to compute; in any thread."""
        self._overlays.prepare(case, proposal)

    def show_proposal(self, case: Case, done: Callable[[], Any] | None = None) -> None:
        """Add or replace probability, uncertainty and contours, hidden at first.

        With `done` one after another while the window lives; it is called at last.
        """
        steps = self._proposal_steps(case)
        if done is not None:
            self._turns(steps, done)
        else:
            deque(steps, maxlen=0)

    def show_as(self, case: Case, shown: Shown, member: int = 0) -> None:
        """Show mask, contours, uncertainty or one member; the mask without them."""
        with self._acting(case) as stack:
            if stack is None:
                return
            self._mask(stack)
            self._overlays.show_as(stack, shown, member)
            if self._stacks.current is not stack:
                stack.asleep = None
                stack.sleep()
                return
            self._hide(stack)
        if not stack.sees("mask"):
            self.set_tool("pan")  # nobody draws into what they do not see
            self.tool_changed.emit("pan")

    # Where one looks

    @property
    def plane(self) -> Plane:
        """The plane that is shown."""
        return next(name for name, axis in AXIS.items() if axis == self._navigator.axis)

    def index(self, case: Case) -> tuple[int, int, int]:
        """The place in hand: shown voxel (plane, row, column)."""
        return self._navigator.index(case.display)

    def voxel_at_hand(self, case: Case) -> tuple[int, int, int]:
        """The voxel (plane, row, column) of the source last pressed or gone to."""
        shown = [np.asarray([index]) for index in self.index(case)]
        z, y, x = (int(axis[0]) for axis in case.display.native_indices(shown))
        return (z, y, x)

    def set_plane(self, plane: Plane) -> None:
        """Look along another axis, with the place in hand in the middle."""
        self._navigator.look_along(AXIS[plane])
        self._orient()

    def set_radiological(self, radiological: bool) -> None:
        """Patient's right on the left of the screen, or on the right."""
        self._navigator.radiological = radiological
        self._orient()

    def set_window(self, case: Case, low: float, high: float) -> None:
        """Show intensities from `low` to `high`."""
        stack = self._stacks.get(case.id)
        layer = None if stack is None else stack.get("image")
        if isinstance(layer, Image) and not layer.rgb and low < high:
            layer.contrast_limits = (low, high)

    def go_to(self, case: Case, voxel: tuple[int, int, int]) -> None:
        """Show and centre a voxel (plane, row, column) of the source."""
        native = [np.asarray([index]) for index in voxel]
        shown = case.display.shown_indices(native)
        self.go_to_index(case, [float(index[0]) for index in shown])

    def go_to_index(self, case: Case, index: Sequence[float]) -> None:
        """Show and centre a voxel (plane, row, column) as shown."""
        self._navigator.go_to(case.display, index)

    def slice_region(self, case: Case) -> Region:
        """The slice that is looked at, on the source's grid."""
        return self._navigator.slice_region(case.display)

    def box_region(self, case: Case) -> Region | None:
        """The box that the user drew, on the source's grid; None without one."""
        stack = self._stacks.get(case.id)
        return None if stack is None else self._overlays.box_region(stack)

    def start_box(self, case: Case) -> None:
        """Let the user draw a box."""
        with self._acting(case) as stack:
            if stack is not None:
                self._overlays.start_box(stack, lambda: self.box_drawn.emit(case.id))

    # What the user has in hand

    def set_brush(self, case: Case, radius: float, three_d: bool) -> None:
        """Brush of a radius in mm (voxels without millimetres)."""
        self._hand.radius, self._hand.three_d = radius, three_d
        with self._acting(case) as stack:
            if stack is not None:
                self._size(stack)

    # Within

    def _proposal_steps(self, case: Case) -> Iterator[None]:
        proposal = case.proposal
        for step in self._overlays.proposal_steps:
            with self._acting(case) as stack:
                if stack is None or case.proposal is not proposal:
                    return
                self._mask(stack)
                step(stack, self._stacks.current is stack)
            yield

    def _size(self, stack: Stack) -> None:
        self._hand.size(stack, self._navigator.in_slice)

    def _orient(self) -> None:
        stack = self._stacks.current
        self._navigator.orient(None if stack is None else stack.case.display)

    def _on_plane(self) -> None:
        self._orient()
        self._with_current(self._size)

    def _on_press(self, viewer: Any, event: Any) -> None:
        if viewer.dims.ndisplay == 2 and event.button == 1:
            stack = self._stacks.current
            display = None if stack is None else stack.case.display
            self._navigator.point_at(event.position, display)
            self.moved.emit()
