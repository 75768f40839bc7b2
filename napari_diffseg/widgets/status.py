"""What is under the mouse, in a reader's words, in the viewer's status line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari.components.viewer_model import ViewerModel

from napari_diffseg.layers.places import Point, ras_words, shown_index, voxel_at
from napari_diffseg.presenters.words import voxel_word
from napari_diffseg.session import Case, Session

_BETWEEN = "    "


class StatusLine:
    """Shows millimetres, voxel, intensity, label and uncertainty under the mouse.

    napari works out its own line in another thread, as fast as it can and no faster;
    ours takes its place when it arrives, so that it costs the same whatever the speed
    of the mouse. Outside the image, and for other messages, napari's stays.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session
        Its current case is the one that is read.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._viewer, self._session = viewer, session
        # Last: the window shows what it is told last.
        viewer.events.status.connect(self._on_status, position="last")

    def close(self) -> None:
        """Leave the status line to napari."""
        self._viewer.events.status.disconnect(self._on_status)

    def text(self) -> str:
        """Line for the place under the mouse; "" outside the current case's image."""
        case = self._session.current
        if case is None or self._viewer.dims.ndisplay != 2:
            return ""
        shown = shown_index(case.display, self._viewer.cursor.position)
        return "" if shown is None else describe_place(case, shown)

    def _on_status(self, event: Any) -> None:
        if _is_of_the_mouse(event.value) and (text := self.text()):
            self._viewer.status = text


def describe_place(case: Case, shown: Point) -> str:
    """Say what is at a shown index: place, voxel (i, j, k), intensity, label, doubt.

    Of a flat picture pixel (i, j). Returns "" outside the image.
    """
    voxel = voxel_at(case.display, shown)
    if voxel is None:
        return ""
    parts = []
    places = ras_words(case.display, _center(shown))
    if places is not None:
        parts.append("  ".join(places) + " mm")
    k, j, i = voxel
    word = voxel_word(case.volume)
    parts.append(f"{word} {i}, {j}" + (f", {k}" if word == "voxel" else ""))
    channels = case.volume.data[(slice(None), *voxel)]
    parts.append("intensity " + ", ".join(f"{float(one):.5g}" for one in channels))
    parts.append(_label(case, int(case.annotation.values[voxel])))
    if case.proposal is not None:
        parts.append(f"uncertainty {float(case.proposal.uncertainty[voxel]):.2f}")
    return _BETWEEN.join(parts)


def _center(shown: Point) -> Point:
    """Middle of the voxel, whose millimetres the voxel's numbers belong to."""
    plane, row, column = (float(round(at)) for at in shown)
    return (plane, row, column)


def _label(case: Case, value: int) -> str:
    if value == 0:
        return "background"
    names = {label.value: label.name for label in case.table.each()}
    return names.get(value, f"label {value}")


def _is_of_the_mouse(status: object) -> bool:
    """Whether napari tells of the place under the mouse, not of something else."""
    if isinstance(status, Mapping):
        return bool(status.get("coordinates"))
    return isinstance(status, str) and " » " in status
