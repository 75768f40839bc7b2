"""Orientation letters at the edges of the main canvas, for every plane and turn."""

from __future__ import annotations

from typing import Any

from napari.components.overlays import TextOverlay
from napari.components.viewer_model import ViewerModel

from diffseg.volume import Display
from napari_diffseg.layers.places import shown_index, slice_name, slice_words

# napari tiles an overlay by its position, and keeps it there when the window is
# resized; without a colour of its own it contrasts with the canvas in any theme.
_EDGES = {
    "top": "top_center",
    "bottom": "bottom_center",
    "left": "middle_left",
    "right": "middle_right",
}
_CORNER = "diffseg_oblique"
_PLACE = "diffseg_place"
_LETTER_POINTS = 14.0
_NOTE_POINTS = 10.0
_WORTH_SAYING_DEG = 0.5


class OrientationLetters:
    """R, L, A, P, S and I where they belong; plane, millimetres and obliqueness.

    They follow the slice, the plane, the camera's turn and 2D or 3D by themselves. They
    are overlays of the viewer's canvas, so screenshots show them too.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._display: Display | None = None
        overlays = viewer.canvas.overlays
        for edge, position in _EDGES.items():
            overlays[f"diffseg_{edge}"] = TextOverlay(
                position=position, font_size=_LETTER_POINTS, visible=False
            )
        for name, position in ((_CORNER, "top_right"), (_PLACE, "bottom_left")):
            overlays[name] = TextOverlay(
                position=position, font_size=_NOTE_POINTS, visible=False
            )
        for event in self._events():
            event.connect(self._update)
        viewer.dims.events.point.connect(self._update_place)

    @property
    def shown(self) -> dict[str, str]:
        """What is written at top, bottom, left and right; "" where nothing is."""
        return {edge: self._written(f"diffseg_{edge}") for edge in _EDGES}

    @property
    def note(self) -> str:
        """What is written in the corner, such as ``"oblique 12 deg"``, or ""."""
        return self._written(_CORNER)

    @property
    def place(self) -> str:
        """Plane and place of the slice, such as ``"Axial  I 16.0 mm"``, or ""."""
        return self._written(_PLACE)

    def show(self, display: Display | None) -> None:
        """Write the letters of a case's display; None takes them away."""
        self._display = display
        self._update()

    def close(self) -> None:
        """Take the letters away for good."""
        for event in self._events():
            event.disconnect(self._update)
        self._viewer.dims.events.point.disconnect(self._update_place)
        for name in (*(f"diffseg_{edge}" for edge in _EDGES), _CORNER, _PLACE):
            self._viewer.canvas.overlays.pop(name, None)

    def _events(self) -> tuple[Any, ...]:
        dims, camera = self._viewer.dims, self._viewer.scene.camera
        return (dims.events.order, dims.events.ndisplay, dims.events.ndim,
                camera.events.orientation)  # fmt: skip

    def _update(self, event: Any = None) -> None:
        letters = self._letters()
        for edge, text in letters.items():
            self._write(f"diffseg_{edge}", text)
        angle = 0.0 if self._display is None else self._display.oblique_deg
        oblique = angle >= _WORTH_SAYING_DEG
        self._write(_CORNER, f"oblique {angle:.0f} deg" if oblique else "")
        self._update_place()

    def _update_place(self, event: Any = None) -> None:
        dims, display = self._viewer.dims, self._display
        shown = None if display is None else shown_index(display, dims.point)
        text = ""
        if display is not None and shown is not None and dims.ndisplay == 2:
            axis = dims.order[-3] - (dims.ndim - 3)
            if axis in range(3) and display.shown.shape[axis] > 1:
                words = slice_words(display, shown, axis)
                text = f"{slice_name(display, axis)}  {words}"
        self._write(_PLACE, text)

    def _written(self, name: str) -> str:
        overlay = self._viewer.canvas.overlays.get(name)
        return str(overlay.text) if overlay is not None and overlay.visible else ""

    def _write(self, name: str, text: str) -> None:
        overlay = self._viewer.canvas.overlays.get(name)
        if overlay is None:  # another plugin may clear the canvas
            return
        # The text first: napari measures it when it becomes visible.
        if text:
            overlay.text = text
        overlay.visible = bool(text)

    def _letters(self) -> dict[str, str]:
        """Read off plane and camera which side each edge is."""
        dims, camera = self._viewer.dims, self._viewer.scene.camera
        nothing = dict.fromkeys(_EDGES, "")
        if self._display is None or dims.ndisplay != 2:
            return nothing
        # The image's axes are the last three, whatever else is open.
        rows, columns = (axis - dims.ndim + 3 for axis in dims.displayed)
        if dims.ndim < 3 or min(rows, columns) < 0:
            rows, columns = (1, 2) if dims.ndim == 2 else (-1, -1)
        if rows < 0:
            return nothing
        vertical, horizontal = (str(one) for one in camera.orientation2d)
        top, bottom = self._display.ends[rows]
        left, right = self._display.ends[columns]
        if vertical == "up":
            top, bottom = bottom, top
        if horizontal == "left":
            left, right = right, left
        return {"top": top, "bottom": bottom, "left": left, "right": right}
