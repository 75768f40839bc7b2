"""Colours of layers: a table's own, and ramps that the colour-blind can read."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap

from diffseg.domain import LabelTable

_NOT_IN_TABLE = (0.6, 0.6, 0.6, 1.0)
_CLEAR = (0.0, 0.0, 0.0, 0.0)

# Purples and greens differ in lightness and in blueness, which nearly everybody sees,
# are no tissue's grey, and far from the orange and blue that structures have here.
DOUBT = ((0.60, 0.30, 0.80), (0.78, 1.00, 0.72))
"""Red, green and blue in [0, 1] that the ramp of uncertainty goes through."""
_BELIEF = ((0.00, 0.45, 0.70), (0.34, 0.71, 0.91))
CONTOUR_COLORS = ("#DDA6FF", "#D6009A", "#35D07F")
"""Of the lines around at least 5 %, 50 % and 95 % of the members."""


def table_colormap(table: LabelTable) -> DirectLabelColormap:
    """Colours of a table; a value that it does not hold is grey."""
    colors: dict[int | None, Any] = {None: _NOT_IN_TABLE, 0: _CLEAR}
    colors |= {label.value: rgba(label.color) for label in table.each()}
    return DirectLabelColormap(color_dict=colors)


def table_features(table: LabelTable) -> dict[str, list[Any]]:
    """What the status bar says of each value of a mask."""
    names: list[str | None] = [None, *table.names]
    return {"index": [0, *table.values], "structure": names}


def contour_colormap() -> DirectLabelColormap:
    """Colours of the values 1, 2 and 3 of a contours layer."""
    colors: dict[int | None, Any] = {None: _CLEAR, 0: _CLEAR}
    colors |= {value: rgba(c) for value, c in enumerate(CONTOUR_COLORS, start=1)}
    return DirectLabelColormap(color_dict=colors)


def uncertainty_colormap() -> Colormap:
    """From nothing to purple to pale green."""
    return _ramp("uncertainty", *DOUBT)


def probability_colormap() -> Colormap:
    """From nothing to dark blue to light blue."""
    return _ramp("probability", *_BELIEF)


def rgba(color: str) -> tuple[float, float, float, float]:
    """Numbers in [0, 1] of ``#rrggbb``."""
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return (red, green, blue, 1.0)


def _ramp(
    name: str, middle: tuple[float, float, float], end: tuple[float, float, float]
) -> Colormap:
    colors = np.array([(*middle, 0.0), (*middle, 0.65), (*end, 0.95)])
    return Colormap(colors, name=f"diffseg {name}", controls=[0.0, 0.5, 1.0])
