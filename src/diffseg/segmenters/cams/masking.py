"""ScoreCAM: maps weighed by what the classifier says of the image seen through them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.networks.ame_cam import unit_range
from diffseg.networks.stages import Staged
from diffseg.segmenters.cams.gradients import check_staged


@torch.no_grad()
def score_cam(
    network: Staged,
    images: Tensor,
    index: int,
    stage: int = -1,
    *,
    most: int | None = None,
    batch: int = 64,
) -> Tensor:
    """ScoreCAM (Wang et al. 2020, algorithm 1) of one stage.

    ``relu(sum_k w_k A_k)``, where the w are the softmax over k of the logit of the
    image as it is seen through A_k, at the image's size and in 0..1. What the baseline
    scores would be taken from every logit, and the softmax would not notice. What a
    map hides has the least value of its channel, which is black, whatever range images
    were brought to.

    Parameters
    ----------
    most : int, optional
        Maps that are asked for, the strongest on average; None: all, one pass of the
        network each.
    batch : int
        Passes at once.

    Returns
    -------
    (B, H, W) Tensor >= 0, at the images' size
    """
    check_staged(network, index)
    maps = network.stages(images)[stage]
    found = [
        _of_one(network, image, one, index, most, batch)
        for image, one in zip(images, maps, strict=True)
    ]
    return torch.stack(found)


def _of_one(
    network: Staged,
    image: Tensor,
    maps: Tensor,
    index: int,
    most: int | None,
    batch: int,
) -> Tensor:
    """Map (H, W) of one image (C, H, W) with maps (W, h, w)."""
    if most is not None and most < len(maps):
        maps = maps[maps.mean((1, 2)).topk(most).indices]
    full = functional.interpolate(
        maps[:, None], image.shape[1:], mode="bilinear", align_corners=False
    )
    black = image.amin((1, 2), keepdim=True)
    scores = []
    for part in torch.split(unit_range(full), batch):
        shown = black + (image - black) * part
        scores.append(network.answer(network.stages(shown))[:, index])
    weights = torch.cat(scores).softmax(0)
    return functional.relu((weights[:, None, None] * full[:, 0]).sum(0))
