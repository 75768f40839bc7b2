"""What a user does in the viewer, told as intents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_diffseg.layers.making import KEY
from napari_diffseg.layers.mask_layer import MaskLayer
from napari_diffseg.layers.stack import Stack
from napari_diffseg.views import Tool

MODES: dict[Tool, str] = {
    "paint": "paint",
    "erase": "erase",
    "fill": "fill",
    "polygon": "polygon",
    "pick": "pick",
    "pan": "pan_zoom",
}
"""Modes of napari's Labels layer, by tool."""

_TOOLS: dict[str, Tool] = {mode: tool for tool, mode in MODES.items()}

TURN_MS = 10
"""Between two steps, for what the user does meanwhile."""

Find = Callable[[Layer], tuple[Stack, str] | None]


class Intents:
    """The intents of `napari_diffseg.views.Canvas`."""

    case_deleted = Signal(str)
    case_selected = Signal(str)
    image_added = Signal(object)
    image_renamed = Signal(str, str)
    edited = Signal(str)
    dirty = Signal(str)
    moved = Signal()
    box_drawn = Signal(str)
    tool_changed = Signal(str)
    label_changed = Signal(int)

    def fall_silent(self) -> None:
        """Tell nobody anything from here on: the window is going."""
        for signal in (
            self.case_deleted,
            self.case_selected,
            self.image_added,
            self.image_renamed,
            self.edited,
            self.dirty,
            self.moved,
            self.box_drawn,
            self.tool_changed,
            self.label_changed,
        ):
            signal.disconnect()


class Soon:
    """Calls a function once the event at hand was dealt with.

    napari removes and adds layers one by one, and loses count when a listener
    removes others meanwhile.
    """

    def __init__(self) -> None:
        self._waiting: list[Callable[[], Any]] = []
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._call)

    def __call__(self, call: Callable[[], Any]) -> None:
        """Call it soon."""
        self._waiting.append(call)
        self._timer.start()

    def _call(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


class Turns:
    """Takes steps one by one, and lets the window live between them."""

    def __init__(self) -> None:
        self._under_way: list[tuple[Iterator[None], Callable[[], Any]]] = []
        self._timer = QTimer()
        self._timer.setInterval(TURN_MS)
        self._timer.timeout.connect(self._step)

    def __call__(self, steps: Iterator[None], done: Callable[[], Any]) -> None:
        """Go through `steps`, after all that were given before; then call `done`."""
        self._under_way.append((steps, done))
        self._timer.start()

    def _step(self) -> None:
        if self._under_way:
            steps, done = self._under_way[0]
            if next(steps, self) is self:
                self._under_way.pop(0)
                done()
        if not self._under_way:
            self._timer.stop()


class Watch:
    """Listens to a viewer and tells intents; silent while we act ourselves.

    Parameters
    ----------
    viewer : ViewerModel
    intents : Intents
        Whose signals are emitted.
    find : callable
        Finds the stack and the role of a layer; None for a layer of others.
    bring_back : callable
        Takes a stack of which the user deleted the mask, but not the image.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        intents: Intents,
        find: Find,
        bring_back: Callable[[Stack], None],
    ) -> None:
        self._viewer = viewer
        self._intents = intents
        self._find = find
        self._bring_back = bring_back
        self._soon = Soon()
        self._quiet = 0
        self._active: int | None = None  # identity of the layer; napari tells twice
        layers, dims = viewer.layers, viewer.dims
        # Last: after napari's own listeners have dealt with the layer.
        layers.events.removed.connect(self._on_removed, position="last")
        layers.events.inserted.connect(self._on_inserted, position="last")
        layers.events.renamed.connect(self._on_renamed)
        layers.selection.events.active.connect(self._on_active)
        dims.events.current_step.connect(self._on_moved)
        dims.events.order.connect(self._on_moved)
        dims.events.ndisplay.connect(self._on_moved)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Tell nothing while we change layers ourselves."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def follow(self, case_id: str, mask: MaskLayer) -> None:
        """Tell what happens in a mask that was just made."""
        intents = self._intents
        mask.stepped.connect(lambda: intents.edited.emit(case_id))
        mask.drawn.connect(lambda: intents.dirty.emit(case_id))
        mask.events.mode.connect(self._on_mode)
        mask.events.selected_label.connect(self._on_label)

    def _on_removed(self, event: Any) -> None:
        found = self._find(event.value)
        if found is None or self._quiet:
            return
        stack, role = found
        stack.forget(role)
        if role == "image":
            self._soon(lambda: self._tell_deleted(stack))
        elif role == "mask":
            self._soon(lambda: self._bring_back(stack))

    def _tell_deleted(self, stack: Stack) -> None:
        if stack.get("image") is None:
            self._intents.case_deleted.emit(stack.case.id)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if not self._quiet and self._is_foreign(layer):
            self._soon(lambda: self._tell_added(layer))

    def tell_images(self) -> None:
        """Tell of every image of others that is there already."""
        for layer in tuple(self._viewer.layers):
            if self._is_foreign(layer):
                self._tell_added(layer)

    def soon(self, call: Callable[[], Any]) -> None:
        """Call a function once the event at hand was dealt with."""
        self._soon(call)

    def _is_foreign(self, layer: Layer) -> bool:
        """Whether a layer is an image that is not ours, and no copy of ours."""
        if not isinstance(layer, Image):
            return False
        said = layer.metadata.get(KEY)
        # napari's "duplicate" makes copies, which are no new images.
        copied = isinstance(said, dict) and "case" in said
        return not copied and self._find(layer) is None

    def _tell_added(self, layer: Image) -> None:
        if layer in self._viewer.layers:
            self._intents.image_added.emit(layer)

    def _on_renamed(self, event: Any) -> None:
        layer = self._viewer.layers[event.index]
        found = self._find(layer)
        if found is None or self._quiet or found[1] != "image":
            return
        stack, _ = found
        with self.quiet():
            stack.rename(layer.name)
        self._intents.image_renamed.emit(stack.case.id, layer.name)

    def _on_active(self, event: Any) -> None:
        again, self._active = id(event.value) == self._active, id(event.value)
        found = None if event.value is None else self._find(event.value)
        if found is not None and not again and not self._quiet:
            self._intents.case_selected.emit(found[0].case.id)

    def _on_moved(self) -> None:
        self._intents.moved.emit()

    def _on_mode(self, event: Any) -> None:
        tool = _TOOLS.get(str(event.mode))
        if tool is not None and not self._quiet:
            self._intents.tool_changed.emit(tool)

    def _on_label(self, event: Any) -> None:
        if not self._quiet:
            self._intents.label_changed.emit(int(event.source.selected_label))
