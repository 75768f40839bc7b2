"""Millimetres for images that came without: given by a person, or by a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal
from diffseg.errors import UserError
from diffseg.volume import Affine, Grid, Volume

Spacing = tuple[float, float, float]

GIVEN_BY_HAND = "the spacing was given by hand"
SIDES_UNKNOWN = (
    "which side is the patient's left is not known: the image is shown as it is "
    "stored, without letters"
)
_MM = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "m": 1000.0}
_MM |= {"meter": 1000.0, "um": 1e-3, "µm": 1e-3, "micrometer": 1e-3, "micron": 1e-3}
_MM |= {"nm": 1e-6, "nanometer": 1e-6}


class ForeignImage(Protocol):
    """An image layer that something else has opened."""

    name: str
    data: Any
    scale: Any
    metadata: Mapping[str, Any]


def spaced(volume: Volume, spacing: Spacing, note: str = GIVEN_BY_HAND) -> Volume:
    """Give `volume` millimetres, (plane, row, column), keeping its voxels.

    `note` says in its warnings where they come from.

    An image that has axes of the patient keeps them. One that has none keeps
    the way it is shown: its axes are taken as radiologists look at slices.

    Raises
    ------
    UserError
        A spacing is zero, negative or not finite.
    """
    source, grid = volume.source, volume.grid
    k, j, i = spacing
    known = source.affine is not None
    direction = grid.affine.direction if known else -np.eye(3)
    affine = Affine.from_parts((i, j, k), grid.affine.origin, direction)
    notes = [note] + ([] if known else [SIDES_UNKNOWN])
    fresh = [note for note in notes if note not in volume.warnings]
    new = replace(
        grid, affine=affine, has_spacing=True, has_sides=known and grid.has_sides
    )
    return replace(volume, grid=new).with_warnings(*fresh)


def measured_on(proposal: Proposal, grid: Grid) -> Proposal:
    """The same proposal on a grid that has got its millimetres."""
    ml = grid.voxel_ml
    rows = tuple(
        replace(
            row,
            volume_ml=None if ml is None else row.voxels * ml,
            volume_ml_p05=None,
            volume_ml_p95=None,
        )
        for row in proposal.structures
    )
    return replace(proposal, grid=grid, structures=rows)


def volume_of(layer: ForeignImage) -> Volume:
    """Take an image out of a layer; the millimetres only where the layer has some.

    Raises
    ------
    UserError
        It has axes that are neither plane, row, column nor colour, or it is a
        pyramid of several resolutions.
    """
    if getattr(layer, "multiscale", False):
        raise UserError(
            f"{layer.name} is a pyramid of several resolutions; open its file with "
            "Open, or add one resolution as a layer"
        )
    voxels: NDArray[Any] = np.asarray(layer.data)
    if getattr(layer, "rgb", False):
        colour = np.moveaxis(voxels, -1, 0)[:3]
        voxels = colour.reshape(len(colour), -1, *colour.shape[-2:])
    if voxels.ndim not in (2, 3) and not getattr(layer, "rgb", False):
        raise UserError(
            f"{layer.name} has {voxels.ndim} axes; add one frame or channel of it as "
            "a layer of planes, rows and columns"
        )
    volume = Volume.from_array(voxels, name=layer.name)
    spacing = _spacing(layer, 2 if volume.shape[0] == 1 else 3)
    if spacing is None:
        return volume
    return spaced(volume, spacing, "the spacing is the layer's")


def _spacing(layer: ForeignImage, axes: int) -> Spacing | None:
    """Spacing of a layer in mm; None where its scale says nothing."""
    scale = [abs(float(step)) for step in np.atleast_1d(layer.scale)][-axes:]
    units: Sequence[Any] = tuple(getattr(layer, "units", None) or ())[-axes:]
    factors = [_MM.get(str(unit)) for unit in units]
    stated = bool(factors) and None not in factors
    if not stated and all(step == 1.0 for step in scale):
        return None
    steps = [
        step * (factor or 1.0)
        for step, factor in zip(scale, factors or [1.0] * len(scale), strict=True)
    ]
    if len(steps) == 2:
        steps.insert(0, min(steps))
    return (steps[0], steps[1], steps[2])
