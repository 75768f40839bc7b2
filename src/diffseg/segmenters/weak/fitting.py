"""What weak methods ask of a card, and hear in a request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffseg.diffusion import schedule_of
from diffseg.domain import ModelCard, Region, Request
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN, SliceLabels
from diffseg.errors import UserError
from diffseg.segmenters.preparation import frame_of
from diffseg.segmenters.weak.looking import States


def said_of(request: Request, card: ModelCard) -> States:
    """What a request says of every slice that the network sees, (Z, K) uint8.

    That a class is present in a volume says so of no slice in particular. What is said
    of slices comes first, in the order in which the card's orientation shows them: a
    structure that is marked in some is looked for in no slice of which nothing is said.

    Raises
    ------
    UserError
        Slices are labelled that the network cuts across, a name is not the model's, or
        a slice is said to show what the whole image is said to be without.
    """
    volume, names = request.volume, card.labels.names
    region = request.region or Region(*((0, size) for size in volume.shape))
    frame = frame_of(volume.grid, region, card.preparation)
    whole = SliceLabels.of_image(request.labels, names, volume.shape[0])
    said = request.slice_labels
    if said is None:
        return np.repeat(whole.states[:1], frame.shape[0], axis=0)
    if frame.turn.axes[0] != 0:
        raise UserError(
            f"{volume.name}: its slices lie across those that model {card.id} sees "
            f"(orientation {card.preparation.orientation}); give labels of the whole "
            "image alone"
        )
    states = np.array(said.among(names).over(whole).states)
    # Who marks a range looks for the structure there, and not elsewhere.
    marked = (states == PRESENT).any(axis=0)
    states[(states == UNKNOWN) & marked] = ABSENT
    states = states[slice(*region.z)]
    return states[::-1].copy() if frame.turn.flips[0] else states


def check_slices(card: ModelCard, classes: int, timesteps: Sequence[int]) -> None:
    """Refuse a card that no weak method can be of.

    Parameters
    ----------
    card : ModelCard
    classes : int
        Foreground classes of the network.
    timesteps : sequence of int
        That it looks at.

    Raises
    ------
    UserError
        Classes, preparation or schedule do not fit.
    """
    what = f"model {card.id} (method {card.method})"
    if classes != len(card.labels):
        raise UserError(
            f"{what}: its network has {classes} foreground classes, its card "
            f"{len(card.labels)}; set network.classes"
        )
    if card.preparation.dims != 2 or card.preparation.tile is not None:
        raise UserError(
            f"{what} sees whole slices: give preparation.dims 2 and no tile"
        )
    most = schedule_of(card.sampling).timesteps
    if max(timesteps) >= most:
        raise UserError(
            f"{what} looks at timestep {max(timesteps)}, its schedule has {most}; "
            f"give timesteps of 0 to {most - 1}"
        )
