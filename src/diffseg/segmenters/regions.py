"""Where a segmenter looks: what was asked for, the whole image, or what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffseg.domain import Localisation, ModelCard, Region, Request
from diffseg.errors import UserError
from diffseg.progress import Work
from diffseg.volume import Grid, Volume

# Name of the place that is the whole image.
IMAGE = "image"
ADVICE, OPTION = "give the region to look at", "--roi"


@dataclass(frozen=True, slots=True)
class Place:
    """A region, its name, and how it came to be looked at.

    `shown` is what the model sees in order to answer for it; the region without it.
    """

    name: str
    region: Region
    found_by: str
    shown: Region | None = None


Looked = tuple[tuple[Place, ...], list[str]]
"""Where to look, and a line for each doubt about it."""


def whole(shape: Sequence[int]) -> Region:
    """Return the region that holds a whole (Z, Y, X) image."""
    z, y, x = shape
    return Region((0, z), (0, y), (0, x))


def places(card: ModelCard, request: Request) -> Work[Looked]:
    """Return where to look, and a line for each doubt about it.

    A region in the request counts first; `shown_for` says what the model sees of the
    image for it. Without one, a model with regions in a template finds them by
    registration, unless the image is no larger than one of them; any other model
    looks at the whole image.

    Yields
    ------
    Progress
        Stage ``prepare``, while regions are found.

    Raises
    ------
    UserError
        The regions cannot be found in the image.
    """
    volume = request.volume
    if request.region is not None:
        shown = shown_for(card, request.region, volume.shape)
        return (Place("region", request.region, "request", shown),), []
    everything = Place(IMAGE, whole(volume.shape), "whole image")
    if card.localisation is None or is_crop(
        volume.grid, card.localisation, card.preparation.orientation
    ):
        return (everything,), []
    return (yield from _registered(volume, card.localisation))


def shown_for(card: ModelCard, region: Region, shape: Sequence[int]) -> Region | None:
    """What the model is shown to answer for a region; None for the region alone.

    A model that brings every slice to one size learnt on whole slices, where a part
    of one would look larger than it ever saw: it is shown the whole image.
    """
    if card.preparation.size is None or card.localisation is not None:
        return None
    return whole(shape)


def is_crop(grid: Grid, localisation: Localisation, orientation: str | None) -> bool:
    """Whether an image is no larger than the card's largest crop.

    Without a spacing a voxel counts as 1 mm, which is also what the image is
    then taken for.
    """
    if grid.has_spacing and orientation is not None:
        grid, _ = grid.reoriented(orientation)
    extent = [n * mm for n, mm in zip(grid.shape, grid.spacing_zyx, strict=True)]
    limits = localisation.largest_mm[::-1]
    # Rounded, as a spacing read from a float32 header is not quite 1.
    return all(round(mm, 3) <= limit for mm, limit in zip(extent, limits, strict=True))


def check_place(card: ModelCard, request: Request) -> None:
    """Refuse, before any work, an image whose regions cannot even be looked for."""
    if request.region is None and card.localisation is not None:
        orientation = card.preparation.orientation
        if not is_crop(request.volume.grid, card.localisation, orientation):
            check_findable(request.volume)


def check_findable(volume: Volume) -> None:
    """Refuse an image that cannot be registered to a template.

    Raises
    ------
    UserError
        It has no spacing, or is no volume.
    """
    if not volume.grid.has_spacing or min(volume.shape) < 2:
        reason = "has no spacing" if not volume.grid.has_spacing else "is one slice"
        raise UserError(
            f"{volume.name}: the model's region cannot be looked for in an image "
            f"that {reason}: {ADVICE}",
            option=OPTION,
        )


def _registered(volume: Volume, localisation: Localisation) -> Work[Looked]:
    # Here, as SimpleITK is wanted by those models only that look for a region.
    from diffseg.segmenters.localisation import iter_locate

    found = yield from iter_locate(volume, localisation)
    how = f"registration to MNI152 (correlation {found.similarity:.2f})"
    places = tuple(Place(name, region, how) for name, region in found.boxes)
    if not places:
        raise UserError(f"{volume.name}: no region found: {ADVICE}", option=OPTION)
    return places, list(found.warnings)
