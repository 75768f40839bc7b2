"""Which end of a map is the structure's: asked of the classifier, not of a mask."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffseg.networks.stages import Staged
from diffseg.segmenters.cams.gradients import check_staged


@torch.no_grad()
def is_upside_down(
    network: nn.Module,
    images: Tensor,
    maps: NDArray[np.float32],
    index: int = 0,
    *,
    share: float = 0.1,
) -> bool:
    """Whether a structure is where maps are low.

    A share of each slice, once where its map is highest and once where it is lowest,
    is replaced by the slice's median; the classifier's answer falls more where what
    it saw is gone. AME-CAM's published code turns its maps by hand; this asks.

    Parameters
    ----------
    network : nn.Module
        A `Staged` classifier, in evaluation.
    images : (N, C, H, W) Tensor
        Slices in which the structure is said to be present.
    maps : (N, H, W) ndarray
    share : float
        Of each slice that is replaced.
    """
    check_staged(network, index)
    asked = cast("Staged", network)
    flat = torch.from_numpy(maps).flatten(1).to(images.device)
    count = max(1, round(share * flat.shape[1]))
    middle = images.flatten(2).median(2).values[..., None]

    def answer(highest: bool) -> float:
        gone = flat.topk(count, dim=1, largest=highest).indices[:, None]
        gone = gone.expand(-1, images.shape[1], -1)
        kept = images.flatten(2).scatter(2, gone, middle.expand_as(gone))
        shown = kept.view_as(images)
        return float(asked.answer(asked.stages(shown))[:, index].mean())

    return answer(highest=True) > answer(highest=False)
