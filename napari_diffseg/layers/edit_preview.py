"""What a change would do to a mask, shown before it is made."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from diffseg.domain import Change
from napari_diffseg.layers import making
from napari_diffseg.layers.colours import rgba
from napari_diffseg.session import Case

ADDED, REMOVED = 1, 2
COLOURS = {ADDED: "#B6FF5C", REMOVED: "#FF4A3D"}
"""Unlike any structure's colour; they differ in lightness, too."""
_OPACITY = 0.65


def edit_preview(case: Case, change: Change) -> Labels:
    """A layer of the box around a change: what is added and what is removed.

    What goes from one structure to another is added. Its memory is the box's.
    """
    display = case.display
    shown = display.shown_indices(change.indices)
    low = [int(axis.min()) for axis in shown]
    shape = tuple(int(a.max()) - n + 1 for a, n in zip(shown, low, strict=True))
    where = tuple(axis - n for axis, n in zip(shown, low, strict=True))
    marks = np.zeros(shape, np.uint8)
    marks[where] = np.where(change.after > 0, ADDED, REMOVED)
    keywords = making.keywords(case, "preview")
    keywords["translate"] = tuple(
        place + n * step
        for place, n, step in zip(display.translate, low, display.scale, strict=True)
    )
    clear = (0.0, 0.0, 0.0, 0.0)
    colours = {None: clear, 0: clear} | {k: rgba(c) for k, c in COLOURS.items()}
    layer = Labels(
        marks,
        colormap=DirectLabelColormap(color_dict=colours),
        features={"index": [0, ADDED, REMOVED], "change": [None, "added", "removed"]},
        opacity=_OPACITY,
        blending="translucent_no_depth",
        **keywords,
    )
    layer.editable = False
    return layer
