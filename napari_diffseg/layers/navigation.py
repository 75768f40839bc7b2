"""Where the viewer looks: plane, point, camera, and which side is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel

from diffseg.domain import Region
from diffseg.volume import Display
from napari_diffseg.layers.places import shown_index, snapped, world_point
from napari_diffseg.layers.stack import Sight
from napari_diffseg.views import Plane

AXIS: dict[Plane, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Shown axis that each plane is leafed through along: feet, back, left."""

_LEFT = 2  # the shown axis that runs to the patient's left
_AS_STORED = ("down", "right")
_MIRRORED = ("down", "left")


class Navigator:
    """The viewer's dims and camera, in terms of a case's shown axes.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._focus: tuple[float, ...] | None = None
        self.radiological = True

    @property
    def ready(self) -> bool:
        """Whether the viewer has the three axes of a case."""
        return bool(self._viewer.dims.ndim >= 3)

    @property
    def axis(self) -> int:
        """Shown axis that is leafed through: 0 feet, 1 back, 2 left."""
        order = self._viewer.dims.order
        return max(int(order[-3]) - self._lead, 0) if self.ready else 0

    @property
    def in_slice(self) -> tuple[int, ...]:
        """Shown axes that run down and across the slice."""
        return tuple(axis for axis in range(3) if axis != self.axis)

    @property
    def point(self) -> tuple[float, float, float]:
        """World coordinates of the place in hand along a case's three axes."""
        dims = self._viewer.dims
        values = list(dims.point)
        if self._focus is not None and len(self._focus) == len(values):
            for axis in dims.displayed:
                values[axis] = self._focus[axis]
        z, y, x = (float(value) for value in values[-3:])
        return (z, y, x)

    def index(self, display: Display) -> tuple[int, int, int]:
        """Shown voxel (plane, row, column) of the place in hand."""
        if not self.ready:
            return (0, 0, 0)
        found = [
            int(np.clip(np.round((world - start) / step), 0, size - 1))
            for world, start, step, size in zip(
                self.point,
                display.translate,
                display.scale,
                display.shown.shape,
                strict=True,
            )
        ]
        return (found[0], found[1], found[2])

    def look_along(self, axis: int) -> None:
        """Leaf through a shown axis, with the place in hand in the middle."""
        if not self.ready:
            return
        dims, lead, place = self._viewer.dims, self._lead, self.point
        # First, as napari shows the new order's slice at once.
        dims.set_point(tuple(lead + a for a in range(3)), place)
        rest = tuple(lead + other for other in range(3) if other != axis)
        dims.order = (*range(lead), lead + axis, *rest)
        self._center(place)

    def go_to(self, display: Display, shown: Sequence[float]) -> None:
        """Show and centre a shown voxel (plane, row, column)."""
        if not self.ready:
            return
        place = tuple(
            float(index) * step + start
            for index, step, start in zip(
                shown, display.scale, display.translate, strict=True
            )
        )
        self._focus = (*self._viewer.dims.point[: self._lead], *place)
        axes = tuple(self._lead + axis for axis in range(3))
        self._viewer.dims.set_point(axes, place)
        self._center(place)

    def point_at(self, world: Sequence[float], display: Display | None = None) -> None:
        """Take the voxel that the user pressed as the place in hand."""
        self._focus = tuple(float(value) for value in world)
        shown = None if display is None else shown_index(display, self._focus)
        if display is not None and shown is not None:
            # In its middle: between voxels there are no slices.
            place = world_point(display, snapped(display, shown))
            self._focus = (*self._focus[:-3], *place)

    def orient(self, display: Display | None) -> None:
        """Put the patient's right where the user expects it.

        Only the camera is mirrored, no layer. Not a sagittal slice, which has no
        left and right, nor an image of unknown sides, nor the view in 3D, where a
        mirror would show another patient.
        """
        displayed = self._viewer.dims.displayed
        seen = len(displayed) == 2 and displayed[-1] - self._lead == _LEFT
        known = display is not None and display.sides_known
        mirrored = known and seen and not self.radiological
        wanted: Any = _MIRRORED if mirrored else _AS_STORED
        camera = self._viewer.scene.camera
        if tuple(map(str, camera.orientation2d)) != wanted:
            camera.orientation2d = wanted

    def sight(self) -> Sight:
        """Where the viewer looks now."""
        dims, camera = self._viewer.dims, self._viewer.scene.camera
        return Sight(dims.point, dims.order, camera.center, camera.zoom)

    def restore(self, sight: Sight) -> None:
        """Look there again, where the axes are still as many."""
        dims, camera = self._viewer.dims, self._viewer.scene.camera
        self._focus = None
        if len(sight.order) == dims.ndim:
            dims.order, dims.point = sight.order, sight.point
            camera.center, camera.zoom = sight.center, sight.zoom

    def slice_region(self, display: Display) -> Region:
        """The slice that is looked at, on the source's grid."""
        ranges = [(0, size) for size in display.shown.shape]
        here = self.index(display)[self.axis]
        ranges[self.axis] = (here, here + 1)
        return Region(*display.native_ranges(ranges))

    @property
    def _lead(self) -> int:
        """Axes that other layers have before those of a case."""
        return max(0, int(self._viewer.dims.ndim) - 3)

    def _center(self, place: Sequence[float]) -> None:
        shown = [axis - self._lead for axis in self._viewer.dims.displayed]
        center = [place[axis] for axis in shown if axis >= 0]
        self._viewer.scene.camera.center = tuple(([0.0] * 3 + center)[-3:])
