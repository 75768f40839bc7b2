"""Masks to learn from, out of maps of classes and what an image is said to show."""

from __future__ import annotations

import torch
from torch import Tensor

from diffseg.errors import UserError

IGNORE = 255
"""Class index of a pixel that no loss looks at."""


def with_background(maps: Tensor, present: Tensor) -> Tensor:
    """Put the background before the classes: 1 - the highest of those present.

    Parameters
    ----------
    maps : (B, K, *S) Tensor
        Of the foreground classes, in [0, 1].
    present : (B, K) bool Tensor
        What each image shows.

    Returns
    -------
    (B, K + 1, *S) Tensor
        Maps of absent classes are 0.
    """
    shown = maps * present.view(*present.shape, *(1,) * (maps.ndim - 2))
    return torch.cat([1 - shown.amax(1, keepdim=True), shown], dim=1)


def pseudo_masks(
    maps: Tensor,
    present: Tensor,
    band: tuple[float, float] | None = None,
) -> Tensor:
    """Class of each pixel, none but those that the image shows.

    Parameters
    ----------
    maps : (B, K, *S) Tensor
        Of the foreground classes, in [0, 1].
    present : (B, K) bool Tensor
        What each image shows; one that shows nothing is background throughout.
    band : (low, high), optional
        Where the highest map is above `high` is its class, where it is not above `low`
        is background, and what is between is `IGNORE`. Without it, the background is
        1 - the highest map, and every pixel has the class that is highest: DiCLIP's
        rule, the same as a band from 0.5 to 0.5. Of classes that are equally high, the
        first is taken.

    Returns
    -------
    (B, *S) int64 Tensor
        0 background, 1 to K, or `IGNORE`.

    Raises
    ------
    UserError
        The band is not within [0, 1], or upside down.
    """
    every = with_background(maps, present)
    if band is None:
        return every.argmax(1)
    low, high = band
    if not 0 <= low <= high <= 1:
        raise UserError(
            f"band of pseudo masks is {low} to {high}; give two numbers in [0, 1], the "
            "lower first"
        )
    best, index = every[:, 1:].max(1)
    shown = present.any(1).view(-1, *(1,) * (best.ndim - 1))
    inside = torch.where(best > high, index + 1, IGNORE)
    return torch.where((best <= low) | ~shown, 0, inside)
