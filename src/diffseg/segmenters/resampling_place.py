"""Where a mask is drawn anew: a patch around the strokes, or the slices near them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffseg.domain import ModelCard, Region, Request
from diffseg.errors import UserError
from diffseg.segmenters.preparation import Frame, frame_of, part_of, planes_of
from diffseg.segmenters.regions import Place, shown_for, whole
from diffseg.volume import Grid

NAME = "strokes"


@dataclass(frozen=True, slots=True)
class Patch:
    """What is drawn anew, and what the model is shown for it.

    Parameters
    ----------
    place : Place
        Its region is what may change.
    frame : Frame
        Of what the model is shown.
    planes : range
        Of the network's input: those that are drawn.
    """

    place: Place
    frame: Frame
    planes: range

    @property
    def part(self) -> Frame:
        """The frame of the planes that are drawn."""
        return part_of(self.frame, self.planes.start, self.planes.stop)


def patch_of(card: ModelCard, request: Request) -> Patch:
    """Plan where a request's strokes are answered for.

    A model over 3 dimensions is shown a patch around the strokes with the options'
    margin, and at least as large as its tile: as much as it sees at once. A model over
    2 dimensions draws the slices of the strokes and some more to each side, and is
    shown all of each. Nothing beyond the request's region changes.

    Raises
    ------
    UserError
        There are no strokes, or not all of them lie in the request's region.
    """
    strokes, grid = request.strokes, request.volume.grid
    box = None if strokes is None else strokes.box
    if strokes is None or box is None:
        raise UserError(
            f"{request.volume.name}: there are no strokes to draw the mask around; "
            "paint or erase first, or propose"
        )
    bounds = request.region or whole(grid.shape)
    drawn = Region(*box)
    if any(
        a < start or b > stop
        for (a, b), (start, stop) in zip(drawn.ranges, bounds.ranges, strict=True)
    ):
        raise UserError(
            f"strokes lie at {drawn}, which is not within the region {bounds}; give a "
            "region that holds them"
        )
    how = f"around {len(strokes)} voxels that were drawn or erased"
    if card.preparation.dims == 3:
        region = _grown(card, grid, drawn, bounds, request.resampling.margin_mm)
        frame = frame_of(grid, region, card.preparation)
        return Patch(Place(NAME, region, how), frame, range(frame.shape[0]))
    shown = shown_for(card, bounds, grid.shape) or bounds
    frame = frame_of(grid, shown, card.preparation)
    axis = frame.turn.axes[0]
    ranges = list(bounds.ranges)
    start, stop = drawn.ranges[axis]
    more, (low, high) = request.resampling.planes, ranges[axis]
    ranges[axis] = (max(low, start - more), min(high, stop + more))
    region = Region(*ranges)
    return Patch(Place(NAME, region, how, shown), frame, planes_of(frame, region))


def _grown(
    card: ModelCard, grid: Grid, box: Region, bounds: Region, margin_mm: float
) -> Region:
    """A box with a margin, as large as the model's tile where there is room."""
    preparation, localisation = card.preparation, card.localisation
    if preparation.tile is None:
        return bounds
    frame = frame_of(grid, bounds, preparation)
    least = [0.0, 0.0, 0.0]
    for axis, (side, step) in enumerate(zip(preparation.tile, frame.step, strict=True)):
        shown = float(side)  # voxels of the network's grid
        if localisation is not None and frame.spacing_mm is not None:
            largest = localisation.largest_mm[2 - axis] / frame.spacing_mm[axis]
            shown = min(shown, largest)
        least[frame.turn.axes[axis]] = shown * step
    spacing = grid.spacing_zyx if grid.has_spacing else (1.0, 1.0, 1.0)
    ranges = []
    for axis in range(3):
        (start, stop), (low, high) = box.ranges[axis], bounds.ranges[axis]
        margin = math.ceil(margin_mm / spacing[axis])
        missing = max(0, math.ceil(least[axis]) - (stop - start + 2 * margin))
        start, stop = start - margin - missing // 2, stop + margin + -(-missing // 2)
        # Pushed inside: what is cut off on one side is given on the other.
        start, stop = start - max(0, stop - high), stop + max(0, low - start)
        ranges.append((max(low, start), min(high, stop)))
    return Region(*ranges)
