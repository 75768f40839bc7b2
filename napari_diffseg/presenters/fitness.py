"""Whether a model can be asked about an image, as far as its card alone tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from diffseg.domain import ModelCard, Presence
from diffseg.errors import UserError
from napari_diffseg.presenters.tables import labels_for
from napari_diffseg.presenters.words import counted
from napari_diffseg.session import Case

# DICOM modalities that a card's own words can be held against.
_MODALITIES = ("MR", "CT", "PT", "US")


Cards = Callable[[], Iterable[ModelCard]]
_MOST_NAMED = 3


def check_fit(
    case: Case, card: ModelCard, *, whole: bool, others: Cards = tuple
) -> None:
    """Refuse what the model would refuse, before anything runs.

    Parameters
    ----------
    whole : bool
        No region is given: the model looks for its own.
    others : callable
        The cards of all models in the list; asked for advice alone.

    Raises
    ------
    UserError
        The image has other channels, every structure is said to be absent, or
        the model's region cannot be looked for in the image.
    """
    volume, wanted = case.volume, card.preparation.channels
    if volume.is_loaded and not card.preparation.takes(volume.channels):
        raise UserError(
            f"the image has {counted(volume.channels, 'channel')}, model {card.id} "
            f"wants {len(wanted)} ({', '.join(wanted)}): {_advice(case, card, others)}"
        )
    said = dict(labels_for(case, card).items())
    if all(said.get(name) is Presence.ABSENT for name in card.labels.names):
        raise UserError(
            "every structure is said to be absent: set what the model is to look "
            "for to unknown or present"
        )
    if whole and card.localisation is not None and not _is_small(case, card):
        reason = "has no millimetres" if not volume.grid.has_spacing else "is one slice"
        if not volume.grid.has_spacing or min(volume.shape) < 2:
            raise UserError(
                f"model {card.id} cannot look for its region in an image that "
                f"{reason}: draw a box around it (Region), or choose another model"
            )


def _advice(case: Case, card: ModelCard, others: Cards) -> str:
    """Say what to do with an image of other channels than a model wants."""
    volume = case.volume
    flat = min(volume.shape) == 1
    names = [
        other.id
        for other in others()
        if other.preparation.takes(volume.channels)
        and not (flat and other.preparation.dims == 3)
    ]
    names = list(dict.fromkeys(names))  # of several versions the name once
    left = len(names) - _MOST_NAMED
    named = ", ".join(names[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")
    if volume.channels < len(card.preparation.channels):
        other = f"choose {named}" if names else "choose another model"
        return f"open the files of its channels as one image, or {other}"
    if names:
        return f"models in the list that take such an image: {named}"
    return "no model in the list takes such an image; add one that does"


def doubts_of(case: Case, card: ModelCard) -> tuple[str, ...]:
    """A line for each reason to doubt what the model will make of the image."""
    volume, preparation = case.volume, card.preparation
    lines: list[str] = []
    modality = (volume.source.modality or "").upper()
    words = re.findall("[A-Z0-9]+", card.modality.upper())
    if modality in _MODALITIES and not any(w.startswith(modality) for w in words):
        lines.append(
            f"this image is {modality}, the model was made for {card.modality}"
        )
    if preparation.dims == 3 and min(volume.shape) == 1:
        lines.append("this image is one slice, the model looks at volumes")
    if not volume.grid.has_spacing and preparation.spacing_mm is not None:
        size = " x ".join(f"{mm:g}" for mm in preparation.spacing_mm)
        lines.append(
            f"this image has no millimetres, the model was made for voxels of {size} mm"
        )
    return tuple(lines)


def without_name(case: Case, message: str) -> str:
    """A message of the engine's that begins with the image's name, without it."""
    name = case.volume.name
    for start in (f"{name}: ", f"{name} "):
        if name and message.startswith(start):
            return message[len(start) :]
    return message


def _is_small(case: Case, card: ModelCard) -> bool:
    """Whether the image is no larger than the model's region itself."""
    assert card.localisation is not None
    grid, orientation = case.volume.grid, card.preparation.orientation
    if grid.has_spacing and orientation is not None:
        grid, _ = grid.reoriented(orientation)
    extent = [n * mm for n, mm in zip(grid.shape, grid.spacing_zyx, strict=True)]
    limits = card.localisation.largest_mm[::-1]
    # Rounded, as a spacing read from a float32 header is not quite 1.
    return all(round(mm, 3) <= limit for mm, limit in zip(extent, limits, strict=True))
