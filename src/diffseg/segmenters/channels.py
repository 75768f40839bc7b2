"""Grey and colour: an image's channels become those that a network expects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffseg.domain import Preparation
from diffseg.domain.card import COLOURS, LUMINANCE
from diffseg.errors import UserError
from diffseg.segmenters.intensity import Floats

# Of red, green and blue in the luminance of ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def in_channels(image: Floats, wanted: Sequence[str], name: str = "image") -> Floats:
    """Bring an image to a network's channels; see `diffseg.domain.Preparation`.

    Parameters
    ----------
    image : (C, Z, Y, X) float32 ndarray
    wanted : sequence of str
        Names of the network's channels; empty: those of the image.
    name : str
        What the image is called in messages.

    Raises
    ------
    UserError
        There is no way from the one to the other.
    """
    if not wanted or len(image) == len(wanted):
        return image
    if not Preparation(channels=tuple(wanted)).takes(len(image)):
        raise UserError(refusal(name, len(image), wanted))
    if tuple(wanted) == COLOURS:
        return np.repeat(image, len(wanted), axis=0)
    luminance = np.tensordot(np.array(_LUMA, np.float32), image, axes=1)
    return luminance.astype(np.float32)[None]


def refusal(name: str, channels: int, wanted: Sequence[str], model: str = "") -> str:
    """Say in one line that an image has the wrong channels, and what would do."""
    advice = "join files by ';' in that order"
    if channels > len(wanted):
        advice = "give an image of these alone, or choose another model"
    if len(wanted) == 1 and channels == 3:
        advice = (
            "give a grey image, or call the channel of a model of your own luminance"
        )
    return (
        f"{name} has {channels} channels, {f'model {model}' if model else 'the model'} "
        f"wants {len(wanted)} ({', '.join(wanted)}): {advice}"
    )


def told(name: str, channels: int, wanted: Sequence[str]) -> str | None:
    """Say what `in_channels` does to an image; None where it does nothing."""
    if not wanted or channels == len(wanted):
        return None
    if tuple(wanted) == LUMINANCE:
        return (
            f"{name}: its three channels were taken for red, green and blue; the model "
            "sees their luminance"
        )
    return f"{name} is grey: its one channel stands for red, green and blue"
