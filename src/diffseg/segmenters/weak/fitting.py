"""What weak methods ask of a card, and hear in a request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffseg.diffusion import schedule_of
from diffseg.domain import ModelCard, Request
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.segmenters.weak.looking import States


def said_of(request: Request, names: tuple[str, ...]) -> States:
    """What a request says of every slice of its image, (K,) uint8.

    That a class is present in a volume says so of no slice in particular.
    """
    planes = request.volume.shape[0]
    labels = SliceLabels.of_image(request.labels, names, planes)
    return np.array(labels.states[0])


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
