"""What is asked must be what the model can do; what is odd is told."""

from __future__ import annotations

import re

from diffseg.domain import ModelCard, Presence, Request
from diffseg.domain.vocabulary import check_asked
from diffseg.errors import UserError
from diffseg.segmenters.channels import refusal, told
from diffseg.segmenters.regions import check_place

SIDES_UNKNOWN = (
    "which side is left is not known: left and right may be swapped in the result"
)
# DICOM modalities that a card's own words can be held against.
_MODALITIES = ("MR", "CT", "PT", "US")


def check_request(card: ModelCard, request: Request) -> tuple[str, ...]:
    """Refuse what the model cannot answer; return a line for each doubt.

    Raises
    ------
    UserError
        The request carries a field that the method does not use, names a label
        that the model does not know, or its image has other channels.
    """
    for field in sorted(request.used - card.capabilities):
        raise UserError(
            f"model {card.id} (method {card.method}) does not use {field}: "
            "leave it out, or choose a model that does"
        )
    most = card.sampling.timesteps
    if request.steps is not None and request.steps > most:
        raise UserError(
            f"steps is {request.steps}, but model {card.id} has {most} noise levels: "
            f"give 1 to {most}"
        )
    request.labels.checked(card.labels)
    check_asked(card, request)
    wanted, volume = card.preparation.channels, request.volume
    if not card.preparation.takes(volume.channels):
        raise UserError(refusal(volume.name, volume.channels, wanted, card.id))
    check_place(card, request)
    return tuple(_doubts(card, request))


def _doubts(card: ModelCard, request: Request) -> list[str]:
    volume, preparation = request.volume, card.preparation
    shape = volume.shape if request.region is None else request.region.shape
    changed = told(volume.name, volume.channels, preparation.channels)
    lines = [] if changed is None else [changed]
    if preparation.dims == 3 and min(shape) == 1:
        lines.append(
            f"{volume.name} is one slice thick where model {card.id} looks at volumes; "
            "doubt the result"
        )
    if not volume.grid.has_spacing and preparation.spacing_mm is not None:
        size = " x ".join(f"{mm:g}" for mm in preparation.spacing_mm)
        lines.append(
            f"{volume.name} has no spacing and was taken as it is; model {card.id} "
            f"was made for voxels of {size} mm, doubt the result"
        )
    sides = volume.grid.has_spacing and volume.grid.has_sides
    if preparation.orientation is not None and not sides:
        lines.append(SIDES_UNKNOWN)
    modality = (volume.source.modality or "").upper()
    words = re.findall("[A-Z0-9]+", card.modality.upper())
    if modality in _MODALITIES and not any(w.startswith(modality) for w in words):
        lines.append(
            f"{volume.name} is {modality}, model {card.id} was made for "
            f"{card.modality}; doubt the result"
        )
    return lines


def absent_classes(card: ModelCard, request: Request) -> tuple[int, ...]:
    """Class indices, background being 0, of what the annotator says is absent."""
    return tuple(
        1 + card.labels.index(name)
        for name, presence in request.labels.items()
        if presence is Presence.ABSENT
    )


def missed_labels(request: Request, voxels: dict[str, int]) -> tuple[str, ...]:
    """A line for each label said to be present of which no voxel was found."""
    return tuple(
        f"{name} is said to be present, but no voxel of it was found"
        for name, presence in request.labels.items()
        if presence is Presence.PRESENT and not voxels[name]
    )
