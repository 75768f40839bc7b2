"""Places: the viewer's world, indices as shown, and what readers call them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffseg.volume import Display
from napari_diffseg.views import Plane

Point = tuple[float, float, float]

PLANES: tuple[Plane, Plane, Plane] = ("axial", "coronal", "sagittal")
"""The plane that lies across each shown axis."""

_SIDES = (("R", "L"), ("A", "P"), ("S", "I"))  # + and - of R, A, S millimetres


def shown_index(display: Display, world: Sequence[float]) -> Point | None:
    """Shown index of a place in the viewer's world; None in a world too flat.

    Parameters
    ----------
    world : sequence of float
        As long as the viewer has axes; an image's own are the last three.
    """
    if len(world) < 3:
        return None
    places = zip(world[-3:], display.translate, display.scale, strict=True)
    k, j, i = ((at - start) / step for at, start, step in places)
    return (float(k), float(j), float(i))


def snapped(display: Display, shown: Point) -> Point:
    """The middle of the voxel at a shown index, or of the nearest in the image."""
    sizes = display.shown.shape
    k, j, i = (
        float(min(max(round(at), 0), size - 1))
        for at, size in zip(shown, sizes, strict=True)
    )
    return (k, j, i)


def world_point(display: Display, shown: Point) -> Point:
    """Place in the viewer's last three axes of a shown index."""
    places = zip(shown, display.translate, display.scale, strict=True)
    z, y, x = (start + at * step for at, start, step in places)
    return (z, y, x)


def voxel_at(display: Display, shown: Point) -> tuple[int, int, int] | None:
    """Voxel (plane, row, column) of the source at a shown index; None outside."""
    rounded = [round(at) for at in shown]
    inside = zip(rounded, display.shown.shape, strict=True)
    if not all(0 <= at < size for at, size in inside):
        return None
    native = display.native_indices([np.array(at) for at in rounded])
    z, y, x = (int(at) for at in native)
    return (z, y, x)


def ras_words(display: Display, shown: Point) -> tuple[str, str, str] | None:
    """Millimetres with the patient's sides: ``("R 27.0", "P 20.0", "I 16.0")``."""
    ras = display.to_ras(shown)
    if ras is None:
        return None
    x, y, z = (
        f"{sides[0] if value >= 0 else sides[1]} {abs(value):.1f}"
        for value, sides in zip(ras, _SIDES, strict=True)
    )
    return (x, y, z)


def slice_words(display: Display, shown: Point, axis: int) -> str:
    """Where a slice lies: ``"P 22.0 mm"``, or its number without known sides.

    Of an oblique slice it is the place at the cursor.
    """
    words = ras_words(display, shown)
    if words is None:
        return f"{round(shown[axis]) + 1} / {display.shown.shape[axis]}"
    return f"{words['LPI'.index(display.letters[axis])]} mm"


def slice_name(display: Display, axis: int) -> str:
    """What slices across a shown axis are called."""
    if display.sides_known:
        return PLANES[axis].capitalize()
    return ("Plane", "Row", "Column")[axis]
