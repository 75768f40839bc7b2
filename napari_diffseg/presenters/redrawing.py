"""From strokes to a request: what is kept, what may change, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Region, Request, Resampling, Strokes
from diffseg.domain.strokes import in_classes
from diffseg.errors import UserError
from napari_diffseg.presenters.asking import Question, Settings, keeps_members
from napari_diffseg.presenters.kept import Kept, Tick
from napari_diffseg.presenters.slices import slice_at_hand
from napari_diffseg.presenters.tables import labels_for
from napari_diffseg.session import Case
from napari_diffseg.views import Canvas, Redraw

NEIGHBOURS = 2
"""Slices to each side of the one that is looked at."""
_AROUND = 16
"""Slices to each side whose strokes count, of a model that looks at volumes."""
_BESIDE_MM = 8.0
"""How far around strokes a slice that is kept as a whole is told to the model."""

# What can be said without the method's code; of others the engine says it.
_WITHOUT_MASKS = {
    "feedforward": "answers in one pass",
    "latent": "denoises codes of masks",
}
_MOST_NAMED = 3

Slices = tuple[slice, slice, slice]
Cards = Callable[[], Iterable[ModelCard]]


def check_redraws(case: Case, card: ModelCard, others: Cards = tuple) -> None:
    """Refuse a model that denoises no masks, and a mask that nobody has drawn in.

    Raises
    ------
    UserError
        It says what would be right: a model of `others`, or a stroke.
    """
    why = _WITHOUT_MASKS.get(card.method)
    if why is not None:
        names = [
            one.id
            for one in others()
            if one.method not in _WITHOUT_MASKS
            and one.preparation.takes(case.volume.channels)
        ]
        named = ", ".join(list(dict.fromkeys(names))[:_MOST_NAMED])
        raise UserError(
            f"model {card.id} cannot be held to strokes, as it {why}: choose a "
            f"diffusion model of masks{f', such as {named}' if named else ''}"
        )
    if not case.annotation.touched.any():
        raise UserError("paint or erase first: that stays, the rest is drawn anew")


def redraw_question(
    case: Case,
    card: ModelCard,
    settings: Settings,
    canvas: Canvas,
    wanted: Redraw,
    slices: Iterable[Tick],
) -> Question:
    """Put strokes and what else is kept into a request.

    Parameters
    ----------
    slices : iterable of (axis, index)
        Slices that stay as a whole.

    Raises
    ------
    UserError
        The model cannot do this, there are no strokes here, or nothing may change.
    """
    check_redraws(case, card)
    note, shape = case.annotation, case.volume.shape
    whole = frozenset((axis, index) for axis, index in slices if shape[axis] > 1)
    axis, here = slice_at_hand(case, canvas)
    target = _around(case, axis, here, NEIGHBOURS) if wanted.near else None
    if target is not None and target.shape == shape:
        target = None
    _check_free(case, target, axis, whole)
    seen = target
    if target is not None and card.preparation.dims == 3:
        seen = _around(case, axis, here, NEIGHBOURS + _AROUND)
    start = note.values.copy()
    known = np.zeros(256, np.uint8)
    known[list(card.labels.values)] = card.labels.values
    kept = Kept(start, whole, known != np.arange(256))
    # Of a large mask a copy is felt, and mostly the model knows all that is in it.
    base = start if set(case.table.values) <= set(card.labels.values) else known[start]
    strokes = _strokes(case, card, base, kept, seen)
    request = Request(
        case.volume,
        labels=labels_for(case, card),
        strokes=strokes,
        initial_mask=base,
        noise_level=wanted.level,
        members=settings.members,
        steps=settings.steps,
        seed=settings.seed,
        keep_members=keeps_members(case, settings),
        resampling=Resampling(planes=NEIGHBOURS),
    )
    return Question(request, target, kept)


def _around(case: Case, axis: int, here: int, reach: int) -> Region:
    """A slice with its neighbours."""
    ranges = [(0, size) for size in case.volume.shape]
    ranges[axis] = (max(0, here - reach), min(ranges[axis][1], here + reach + 1))
    return Region(*ranges)


def _check_free(
    case: Case, target: Region | None, axis: int, slices: frozenset[Tick]
) -> None:
    """Refuse to draw anew what is kept as a whole."""
    ranges = [(0, n) for n in case.volume.shape] if target is None else target.ranges
    axes = range(3) if target is None else (axis,)
    if any(all((one, i) in slices for i in range(*ranges[one])) for one in axes):
        raise UserError(
            "all of these slices are kept as a whole, so nothing could change: keep "
            "the strokes alone"
        )


def _strokes(
    case: Case,
    card: ModelCard,
    base: NDArray[np.uint8],
    kept: Kept,
    seen: Region | None,
) -> Strokes:
    """Voxels that a person set, and what is kept beside them."""
    z, y, x = case.volume.shape
    within = (slice(0, z), slice(0, y), slice(0, x)) if seen is None else seen.slices
    box = _box_of(case.annotation.touched, within)
    if box is None:
        raise UserError(
            "nothing was drawn or erased near this slice: paint or erase here first, "
            "or choose Volume"
        )
    if kept.slices:
        box = _grown(case, box, within)
    where = case.annotation.touched[box] | kept.foreign[kept.start[box]]
    for axis, index in kept.slices:
        if box[axis].start <= index < box[axis].stop:
            part = [slice(None)] * 3
            part[axis] = slice(index - box[axis].start, index - box[axis].start + 1)
            where[tuple(part)] = True
    places = [
        found + part.start for found, part in zip(np.nonzero(where), box, strict=True)
    ]
    voxels = np.ravel_multi_index(tuple(places), base.shape).astype(np.int64)
    return Strokes((z, y, x), voxels, in_classes(base[box][where], card.labels))


def _box_of(there: NDArray[np.bool_], within: Slices) -> Slices | None:
    """The smallest box around what is set within another; None of nothing."""
    found = list(within)
    for axis in range(3):  # each time of less, as the mask may be large
        z, y, x = found
        others = tuple(one for one in range(3) if one != axis)
        at = np.flatnonzero(there[z, y, x].any(axis=others)) + found[axis].start
        if not len(at):
            return None
        found[axis] = slice(int(at[0]), int(at[-1]) + 1)
    z, y, x = found
    return (z, y, x)


def _grown(case: Case, box: Slices, within: Slices) -> Slices:
    """A box with a margin, as far as it lies within another."""
    grid, found = case.volume.grid, []
    spacing = grid.spacing_zyx if grid.has_spacing else (1.0, 1.0, 1.0)
    for one, bounds, mm in zip(box, within, spacing, strict=True):
        more = math.ceil(_BESIDE_MM / mm)
        found.append(
            slice(
                max(bounds.start, one.start - more), min(bounds.stop, one.stop + more)
            )
        )
    z, y, x = found
    return (z, y, x)
