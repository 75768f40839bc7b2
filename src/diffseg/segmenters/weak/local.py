"""What a local classifier says of slices, and of those beside them.

A structure goes on from one slice to the next, and what deceives a classifier of small
windows mostly does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from diffseg.domain.slice_labels import ABSENT
from diffseg.segmenters.weak.looking import States

_REACH = 3  # standard deviations
_BATCH = 8  # slices at once


def local_maps(
    maps: Callable[[Sequence[int]], Tensor],
    states: States,
    planes: Sequence[int],
    deviation: float,
) -> Tensor:
    """Maps of some planes, each the mean over its neighbours, weighed by a Gaussian.

    Neighbours without a class have no say in its map, and neither has what lies beyond
    the image.

    Parameters
    ----------
    maps : function
        Gives maps (B, K, y, x) of planes.
    states : (Z, K) uint8 ndarray
        What is known of all planes of the image.
    planes : sequence of int
        In any order.
    deviation : float
        Of the Gaussian, in planes; 0: each plane by itself.

    Returns
    -------
    (n, K, y, x) float32 Tensor
    """
    reach = math.ceil(_REACH * deviation)
    first = max(0, min(planes) - reach)
    near = range(first, min(len(states), max(planes) + reach + 1))
    parts = [near[i : i + _BATCH] for i in range(0, len(near), _BATCH)]
    found = torch.cat([maps(part).float() for part in parts])
    away = np.subtract.outer(np.asarray(planes), np.asarray(near)).astype(float)
    weight = np.exp(-0.5 * (away / max(deviation, 1e-6)) ** 2) * (abs(away) <= reach)
    # A plane always counts for itself: what is absent there is not looked for anyway.
    counted = (states[near] != ABSENT)[None] | (away == 0)[..., None]
    shares = weight[..., None] * counted
    shares /= shares.sum(axis=1, keepdims=True)
    told = torch.from_numpy(shares).to(found)
    return torch.einsum("pnk,nkyx->pkyx", told, found)
