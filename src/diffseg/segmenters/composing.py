"""The answers of several regions become one answer on the whole grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, Region, RegionReport, StructureReport
from diffseg.ensemble import EnsembleSummary, measure
from diffseg.segmenters.regions import Place
from diffseg.volume import Grid

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the ensemble says of one place; arrays are on its region."""

    place: Place
    summary: EnsembleSummary


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """One answer on the source grid; see `diffseg.domain.Proposal`.

    `classes` holds class indices (0 background), as do `member_classes`, which
    cover `union` only: the smallest box around all places.
    """

    classes: NDArray[np.uint8]
    probability: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    member_classes: NDArray[np.uint8]
    union: Region
    mutual_information_mean: float | None

    def structures(
        self, table: LabelTable, voxel_ml: float | None
    ) -> tuple[StructureReport, ...]:
        """Measure every structure over all places together."""
        inside = self.classes[self.union.slices]
        return measure(self.member_classes, inside, table, voxel_ml)

    def region_report(
        self, place: Place, table: LabelTable, voxel_ml: float | None
    ) -> RegionReport:
        """Tell what lies within one place."""
        inside = self.classes[place.region.slices]
        counts = np.bincount(inside.ravel(), minlength=len(table) + 1)
        volume_ml = {
            name: None if voxel_ml is None else float(count * voxel_ml)
            for name, count in zip(table.names, counts[1:], strict=True)
        }
        return RegionReport(place.name, place.region.ranges, place.found_by, volume_ml)


def compose(answers: Sequence[Answer], grid: Grid) -> Composed:
    """Lay the answers onto the grid; outside all places everything is 0.

    Where places overlap, each voxel is answered by the one that sees more
    foreground in it, members and uncertainty included. The order of the
    answers does not matter.

    Parameters
    ----------
    answers : sequence of Answer
        At least one; all of the same classes and number of members.
    grid : Grid
        Of the source.
    """
    answers = sorted(answers, key=lambda one: (one.place.region.ranges, one.place.name))
    first = answers[0].summary
    union = around([one.place.region for one in answers])
    members = len(first.member_classes)
    classes = np.zeros(grid.shape, dtype=np.uint8)
    uncertainty = np.zeros(grid.shape, dtype=np.float32)
    probability = np.zeros((len(first.probability) - 1, *grid.shape), dtype=np.float32)
    member_classes = np.zeros((members, *union.shape), dtype=np.uint8)
    information = np.zeros(union.shape, dtype=np.float32)
    best = np.full(union.shape, -1, dtype=np.float32)
    for answer in answers:
        summary, whole = answer.summary, answer.place.region.slices
        part = index_of(answer.place.region, union)
        seen = 1 - summary.probability[0]
        wins = seen > best[part]
        best[part][wins] = seen[wins]
        np.copyto(classes[whole], summary.classes, where=wins)
        np.copyto(uncertainty[whole], summary.uncertainty, where=wins)
        np.copyto(probability[(slice(None), *whole)], summary.probability[1:],
                  where=wins)  # fmt: skip
        np.copyto(member_classes[(slice(None), *part)], summary.member_classes,
                  where=wins)  # fmt: skip
        if summary.mutual_information is not None:
            np.copyto(information[part], summary.mutual_information, where=wins)
    mean = None
    if first.mutual_information is not None:
        mean = float(information[best >= 0].mean(dtype=np.float64))
    return Composed(classes, probability, uncertainty, member_classes, union, mean)


def joined(
    parts: Sequence[tuple[Region, EnsembleSummary]], region: Region
) -> EnsembleSummary:
    """Lay summaries of boxes that make up `region` side by side."""
    if len(parts) == 1:
        return parts[0][1]
    first = parts[0][1]

    def laid(name: str) -> Any:
        one = getattr(first, name)
        if one is None:
            return None
        whole = np.empty((*one.shape[:-3], *region.shape), dtype=one.dtype)
        for box, summary in parts:
            whole[(..., *index_of(box, region))] = getattr(summary, name)
        return whole

    return EnsembleSummary(*(laid(field.name) for field in fields(EnsembleSummary)))


def cut(summary: EnsembleSummary, region: Region, wanted: Region) -> EnsembleSummary:
    """Return the part of a summary of `region` that lies in a box within it."""
    if wanted == region:
        return summary
    within = (..., *index_of(wanted, region))

    def part(name: str) -> Any:
        one = getattr(summary, name)
        return None if one is None else one[within].copy()  # the rest is let go

    return EnsembleSummary(*(part(field.name) for field in fields(EnsembleSummary)))


def common(region: Region, other: Region) -> Region:
    """Return the box that lies in both; they must overlap."""
    z, y, x = (
        (max(a, c), min(b, d))
        for (a, b), (c, d) in zip(region.ranges, other.ranges, strict=True)
    )
    return Region(z, y, x)


def around(regions: Sequence[Region]) -> Region:
    """Return the smallest box that holds all `regions`."""
    ranges = np.array([region.ranges for region in regions])
    start, stop = ranges[..., 0].min(axis=0), ranges[..., 1].max(axis=0)
    z, y, x = zip(start.tolist(), stop.tolist(), strict=True)
    return Region(z, y, x)


def index_of(region: Region, union: Region) -> tuple[Any, ...]:
    """Index of `region` in an array over `union`."""
    return tuple(
        slice(start - origin, stop - origin)
        for (start, stop), (origin, _) in zip(region.ranges, union.ranges, strict=True)
    )


def in_values(classes: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    """Turn class indices into the table's mask values."""
    values = np.array((0, *table.values), dtype=np.uint8)
    return values[classes]


def on_grid(
    member_classes: NDArray[np.uint8], union: Region, shape: Shape
) -> NDArray[np.uint8]:
    """Lay the members' classes over `union` onto the whole grid."""
    full = np.zeros((len(member_classes), *shape), dtype=np.uint8)
    full[(slice(None), *union.slices)] = member_classes
    return full
