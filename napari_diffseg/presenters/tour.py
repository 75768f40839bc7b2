"""The places of one proposal that deserve a look, told in words."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, Proposal
from diffseg.ensemble.places import DoubtfulPlace, doubtful_places, slice_doubts
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.views import Place

Center = tuple[int, int, int]

_APART_MM = 8.0


@dataclass(slots=True, eq=False)
class Tour:
    """The places of one proposal and how far the annotator has come."""

    proposal: Proposal
    places: tuple[Place, ...]
    doubts: tuple[NDArray[np.float32], ...]  # along each axis of the source
    index: int = 0
    started: bool = field(default=False)


def tour_of(proposal: Proposal, names: dict[int, str]) -> Tour:
    """Find a proposal's places, told in words, and the doubt of its slices.

    Parameters
    ----------
    names : dict
        What the annotator calls each mask value.
    """
    table, grid = proposal.labels, proposal.grid
    labels = table.labels
    classes = np.zeros(proposal.mask.shape, np.uint8)
    for index, label in enumerate(labels, start=1):
        classes[proposal.mask == label.value] = index
    found = doubtful_places(
        proposal.uncertainty,
        proposal.probability,
        classes,
        grid.spacing_zyx if grid.has_spacing else (1.0, 1.0, 1.0),
        apart=_APART_MM,
    )
    places = tuple(
        Place(
            center=one.center,
            reason=_reason(one, proposal, names),
            structure=names.get(labels[one.index].value, labels[one.index].name),
            score=one.score,
        )
        for one in found
    )
    doubts = tuple(
        slice_doubts(proposal.uncertainty, proposal.mask, axis) for axis in range(3)
    )
    return Tour(proposal, places, doubts)


def with_earlier(tour: Tour, earlier: Tour | None) -> Tour:
    """The tour with the earlier one's places where the proposal did not look."""
    if earlier is None or not tour.proposal.regions:
        return tour
    boxes = [region.box for region in tour.proposal.regions]
    left = tuple(
        place
        for place in earlier.places
        if not any(_inside(place.center, box) for box in boxes)
    )
    return Tour(tour.proposal, tour.places + left, tour.doubts)


def around(values: NDArray[np.uint8], center: Center) -> bytes:
    """What a mask holds at a voxel and its neighbours."""
    return values[tuple(slice(max(0, at - 1), at + 2) for at in center)].tobytes()


def _inside(center: Center, box: tuple[tuple[int, int], ...]) -> bool:
    return all(a <= at < b for at, (a, b) in zip(center, box, strict=True))


def _reason(place: DoubtfulPlace, proposal: Proposal, names: dict[int, str]) -> str:
    labels: tuple[Label, ...] = proposal.labels.labels

    def name(index: int) -> str:
        return names.get(labels[index].value, labels[index].name)

    own = name(place.index)
    others = [name(index) for index in place.neighbours if index != place.index]
    several = proposal.provenance.members > 1
    unsure = "members disagree" if several else "the model is unsure"
    might = "some members see" if several else "the model may see"
    if not place.neighbours:
        where = f"{might} {own} here, the mask does not"
    elif place.index not in place.neighbours:
        where = f"{might} {own} beside {' and '.join(others)}"
    elif others:
        where = f"{unsure} where {own} meets {' and '.join(others)}"
    else:
        where = f"{unsure} at the border of {own}"
    voxel_ml = proposal.grid.voxel_ml
    if voxel_ml is None:
        word = voxel_word(proposal)
        return f"{where}, {counted(place.voxels, word)} in doubt"
    return f"{where}, {place.voxels * voxel_ml:.2g} ml in doubt"
