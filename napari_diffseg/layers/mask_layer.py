"""The mask that a person edits: napari's Labels, which knows who drew what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from diffseg.project.annotation import Annotation, Change
from diffseg.volume import Display
from napari_diffseg.layers.brush_limit import BrushLimit
from napari_diffseg.layers.edits import (
    History,
    Painted,
    difference,
    make_change,
    painted,
    stroke_step,
)


class MaskLayer(Labels):
    """An annotation as a Labels layer: strokes land in its voxels and are marked.

    It keeps a history of its own in place of napari's, since undoing must also
    take back the marks, and must not grow without bound.

    Parameters
    ----------
    annotation : Annotation
        Its `values` are the layer's data: seen through `display`, not copied.
    display : Display
        From the source's grid to the layer's.
    history : History, optional
        What can be undone.
    **keywords
        Those of `napari.layers.Labels`.
    """

    stepped = Signal()
    """A stroke, fill, undo or redo has just ended."""
    drawn = Signal()
    """Voxels may have changed."""

    def __init__(
        self,
        annotation: Annotation,
        display: Display,
        *,
        history: History | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(display.view(annotation.values), **keywords)
        self._annotation = annotation
        self._display = display
        self._history = History() if history is None else history
        self.limit: BrushLimit | None = None
        # First: napari draws with the press already.
        self.mouse_drag_callbacks.insert(0, self._on_press)
        # Last, since the atoms are thrown away then: see `_on_paint`.
        self.events.paint.connect(self._on_paint, position="last")
        self.events.labels_update.connect(self._on_update)

    @property
    def _type_string(self) -> str:
        """What napari takes it for when it saves or copies it: not "masklayer"."""
        return "labels"

    @property
    def data(self) -> NDArray[np.uint8]:
        """(Z, Y, X) uint8 labels as shown; a view of the annotation's values.

        Giving other data of the same shape draws them, as one step.
        """
        shown: NDArray[np.uint8] = Labels.data.fget(self)
        return shown

    @data.setter
    def data(self, data: Any) -> None:
        wanted = np.asarray(data)
        if wanted.shape != self.data.shape:
            raise ValueError(
                f"data of shape {wanted.shape} for a mask of {self.data.shape}; "
                "a mask keeps the shape of its image"
            )
        native = self._display.native_view(wanted)
        self._take(difference(self._annotation.values, native), by_person=True)
        self.stepped.emit()

    @property
    def history(self) -> History:
        """What can be undone."""
        return self._history

    def apply(self, change: Change) -> None:
        """Make a proposal's change as one step that marks nothing as touched.

        A stroke under way stays as it is.
        """
        self._take(change, by_person=False)

    def correct(self, change: Change) -> None:
        """Make a person's change as one step, like a stroke."""
        if len(change):
            self._take(change, by_person=True)
            self.stepped.emit()

    def undo(self) -> None:
        """Undo the last step, with its marks."""
        if not self.editable or self._under_way():
            return
        if (step := self._history.back()) is not None:
            step.undo(self._annotation)
            self._told()
            self.stepped.emit()

    def redo(self) -> None:
        """Do the step that was undone last again, with its marks."""
        if not self.editable or self._under_way():
            return
        if (step := self._history.forth()) is not None:
            step.redo(self._annotation)
            self._told()
            self.stepped.emit()

    def _take(self, change: Change, *, by_person: bool) -> None:
        atoms = self._under_way()
        spare = self._painted(atoms)
        step = make_change(self._annotation, change, by_person=by_person, spare=spare)
        if step is not None:
            self._history.push(step)
            self._told()

    def _told(self) -> None:
        self.refresh(extent=False)
        self.drawn.emit()

    def _painted(self, atoms: list[Any]) -> Painted | None:
        return painted(atoms, self.data, self._display)

    def _under_way(self) -> list[Any]:
        # Private, as napari tells of a stroke only when the button is let go: a
        # proposal that comes before must not paint over it, nor an undo mix with it.
        return list(getattr(self, "_staged_history", ()))

    def data_setitem(self, indices: Any, value: Any, refresh: bool = True) -> None:
        """Set voxels to a label; those that have it already are confirmed.

        Parameters
        ----------
        indices : tuple of (n,) int arrays
            Plane, row and column as shown.
        value : int or (n,) int array
        refresh : bool
            Show it at once.
        """
        with self._one_step():
            same = (self.data[indices] == value) & ~self._touched[indices]
            if np.any(same):
                where = tuple(np.asarray(axis)[same] for axis in indices)
                self._save_history((where, self.data[where], value))
            super().data_setitem(indices, value, refresh)

    def _apply_mask_to_data(
        self,
        data: NDArray[Any],
        mask: NDArray[np.bool_],
        new_label: int,
        volume_slice: tuple[slice, ...],
    ) -> NDArray[np.bool_] | None:
        # Private, as napari tells only of voxels whose label changed, and this is
        # the one place, of brush, polygon and fill, that still knows all of them.
        # Who paints over a label with the same one has looked and agrees: it must
        # outlast the next proposal. Such voxels go into the stroke as "1 before, 1
        # now". Those that are touched already need it no more.
        with self._one_step():
            same = mask & (data == new_label) & ~self._touched[volume_slice]
            if same.any():
                self._save_history(
                    self._history_atom_for_mask_paint(
                        volume_slice, data, same, new_label
                    )
                )
            painted: NDArray[np.bool_] | None = super()._apply_mask_to_data(
                data, mask, new_label, volume_slice
            )
        return painted

    def _get_brush_mask_and_bbox(
        self, coord: Sequence[float], dims_to_paint: list[int], shape: list[int]
    ) -> Any:
        # Private, as this is the one place that knows both a brush's shape and its
        # middle. Were it renamed, the brush would paint all that it covers.
        found = super()._get_brush_mask_and_bbox(coord, dims_to_paint, shape)
        if found is None or self.limit is None or str(self.mode) != "paint":
            return found
        brush, low, high = found
        middle = [int(coord[axis]) for axis in range(self.ndim)]
        key = self._build_slice_key(middle, dims_to_paint, low, high)
        at = [middle[axis] - int(low[i]) for i, axis in enumerate(dims_to_paint)]
        kept = self.limit.fit(brush, key, at)
        return (kept, low, high) if kept.any() else None

    def _on_press(self, layer: Any, event: Any) -> None:
        if self.limit is not None:
            self.limit.start_afresh()

    @property
    def _touched(self) -> NDArray[np.bool_]:
        """What a person has set, as shown."""
        return self._display.view(self._annotation.touched)

    @contextmanager
    def _one_step(self) -> Iterator[None]:
        """Make one step of what is painted, where no stroke is under way."""
        if self._block_history:  # to leave `block_history` would end the stroke
            yield
        else:
            with self.block_history():
                yield

    def _on_update(self) -> None:
        self.drawn.emit()

    def _on_paint(self, event: Any) -> None:
        stroke = self._painted(event.value)
        # napari's own history keeps this very list. Emptied, it holds no memory.
        event.value.clear()
        if stroke is not None:
            self._history.push(stroke_step(self._annotation, stroke))
            self.drawn.emit()
            self.stepped.emit()
