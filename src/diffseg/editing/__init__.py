"""Tools that change a mask: each takes a `Workpiece` and returns a `Change`.

Nothing is changed in place: a change can be shown first, and is made as one step.
"""

from diffseg.editing.combination import Operand, Operation, combine
from diffseg.editing.copying import copy_slice
from diffseg.editing.holes import fill_holes
from diffseg.editing.interpolation import interpolate
from diffseg.editing.islands import keep_largest, remove_islands
from diffseg.editing.margins import margin
from diffseg.editing.smoothing import Method, smooth
from diffseg.editing.threshold import paint_within, seed_range, within_range
from diffseg.editing.workpiece import Box, Workpiece

__all__ = [
    "Box",
    "Method",
    "Operand",
    "Operation",
    "Workpiece",
    "combine",
    "copy_slice",
    "fill_holes",
    "interpolate",
    "keep_largest",
    "margin",
    "paint_within",
    "remove_islands",
    "seed_range",
    "smooth",
    "within_range",
]
