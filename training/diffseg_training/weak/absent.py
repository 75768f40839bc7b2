"""How much nearer to a class a pixel must be than to background: asked of slices
without the class, of which every pixel is background.

The decoder learns from as many pixels of a class as of background, where in a slice
there are thirty times fewer, and so it sees the class everywhere. Which pixels it
should leave alone needs no mask to be known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.errors import UserError
from diffseg.networks.pixel_decoder import PixelDecoder
from diffseg.segmenters.weak.clusters import log_odds
from diffseg_training.cache import Cache


def shows(store: Cache, name: str) -> bool:
    """Whether a slice has pixels that are surely of a class."""
    return bool((store.read(name, "classes") > 0).any())


@torch.no_grad()
def offsets_of_absent(
    decoder: PixelDecoder,
    names: Sequence[str],
    store: Cache,
    references: Tensor,
    temperature: float,
    share: float | None,
    device: str,
    local_weight: float = 0.0,
) -> Tensor:
    """Offsets of log-probabilities that leave slices without a class to background.

    Parameters
    ----------
    decoder : PixelDecoder
    names : sequence of str
        Slices whose pixels were chosen; those with pixels of no class are asked.
    store : Cache
        Of their features.
    references : (K + 1, E) Tensor
        Mean embeddings, background first.
    temperature : float
        tau of the probabilities, above 0.
    share : float
        Of the pixels of slices without a class that are to be background, of each class
        by itself; None: no offset.
    device : str
    local_weight : float
        Of the local classifier's log-odds, which are added to the decoder's.

    Returns
    -------
    (K + 1,) float32 Tensor
        0 of background.

    Raises
    ------
    UserError
        There is no slice that shows nothing.
    """
    if share is None:
        return torch.zeros(len(references))
    found: list[NDArray[np.float32]] = []
    centres = references.cpu().numpy()
    for name in names:
        if shows(store, name):
            continue
        features = torch.from_numpy(store.read(name, "features")).to(device).float()
        embedded = decoder(features).cpu().numpy()
        odds = log_odds(embedded, centres, temperature)
        if local_weight:
            odds[:, 1:] += local_weight * store.read(name, "local").astype(np.float32)
        found.append(odds)
    if not found:
        raise UserError(
            "objective.decoder.absent asks slices that show nothing, and there are "
            "none: set objective.selection.negatives to how many may be taken, or "
            "objective.decoder.absent to null"
        )
    highest = np.quantile(np.concatenate(found), share, axis=0)
    return torch.from_numpy(-highest).float()
