"""A patch that was drawn anew, laid into the mask that it was taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import (
    LabelTable,
    Proposal,
    Provenance,
    Region,
    RegionReport,
    Request,
)
from diffseg.ensemble import EnsembleSummary, measure
from diffseg.segmenters.composing import around, in_values, index_of, on_grid
from diffseg.segmenters.regions import Place


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """What the members say of a region, and the mask around it.

    Parameters
    ----------
    summary : EnsembleSummary
        On `region`.
    region : Region
    base : (Z, Y, X) uint8 ndarray, optional
        Class indices of the mask before; background without it.
    table : LabelTable
    """

    summary: EnsembleSummary
    region: Region
    base: NDArray[np.uint8] | None
    table: LabelTable


def laid(
    resampled: Resampled, request: Request, place: Place, provenance: Provenance
) -> Proposal:
    """A proposal on the whole grid: beyond the region, the mask as it was, surely."""
    grid, table, summary = request.volume.grid, resampled.table, resampled.summary
    region, base = resampled.region, resampled.base
    if base is None:
        base = np.zeros(grid.shape, dtype=np.uint8)
    classes = base.copy()
    classes[region.slices] = summary.classes
    probability = np.zeros((len(table), *grid.shape), dtype=np.float32)
    for index, share in enumerate(probability, start=1):
        share[base == index] = 1
    probability[(slice(None), *region.slices)] = summary.probability[1:]
    uncertainty = np.zeros(grid.shape, dtype=np.float32)
    uncertainty[region.slices] = summary.uncertainty
    union = around([region, *_foreground(base)])
    count = len(summary.member_classes)
    members = np.repeat(base[union.slices][None], count, axis=0)
    members[(slice(None), *index_of(region, union))] = summary.member_classes
    full = None
    if request.keep_members:
        full = in_values(on_grid(members, union, grid.shape), table)
    counts = np.bincount(summary.classes.ravel(), minlength=len(table) + 1)[1:]
    ml = grid.voxel_ml
    volume_ml = {
        name: None if ml is None else float(count * ml)
        for name, count in zip(table.names, counts, strict=True)
    }
    return Proposal(
        mask=in_values(classes, table),
        probability=probability,
        uncertainty=uncertainty,
        labels=table,
        grid=grid,
        source=request.volume.source,
        provenance=provenance,
        structures=measure(members, classes[union.slices], table, ml),
        regions=(RegionReport(place.name, region.ranges, place.found_by, volume_ml),),
        mutual_information_mean=summary.mutual_information_mean,
        members=full,
    )


def _foreground(base: NDArray[np.uint8]) -> list[Region]:
    """The box around all that a mask holds; nothing of an empty one."""
    if not base.any():
        return []
    z, y, x = (
        np.flatnonzero(base.any(axis=tuple(a for a in range(3) if a != axis)))
        for axis in range(3)
    )
    ends = [(int(one[0]), int(one[-1]) + 1) for one in (z, y, x)]
    return [Region(*ends)]
