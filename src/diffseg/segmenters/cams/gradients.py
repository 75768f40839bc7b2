"""CAMs from gradients of a logit: GradCAM and LayerCAM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks.stages import Staged

_LEAST = 1e-12
SHALLOW = 2
"""Stages, from the first, that are scaled up before stages are fused."""
GAMMA = 2.0


def grad_cam(network: Staged, images: Tensor, index: int, stage: int = -1) -> Tensor:
    """GradCAM (Selvaraju et al. 2017, equations 1 and 2) of one stage.

    ``relu(sum_k w_k A_k)``, where w_k is the mean over pixels of the logit's gradient
    by the stage's k-th map A_k.

    Returns
    -------
    (B, H, W) Tensor >= 0, at the images' size
    """
    (maps,), (slopes,) = _slopes(network, images, index, [stage])
    weights = slopes.mean((2, 3), keepdim=True)
    return resized(functional.relu((weights * maps).sum(1)), images)


def layer_cam(network: Staged, images: Tensor, index: int, stage: int = -1) -> Tensor:
    """LayerCAM (Jiang et al. 2021, equations 5 to 7) of one stage.

    ``relu(sum_k A_k relu(g_k))``, where g_k is the logit's gradient by the stage's
    k-th map A_k, pixel by pixel.

    Returns
    -------
    (B, H, W) Tensor >= 0, at the images' size
    """
    (maps,), (slopes,) = _slopes(network, images, index, [stage])
    return resized(_layer(maps, slopes), images)


def fused_layer_cam(
    network: Staged, images: Tensor, index: int, stages: Sequence[int] = (0, 1, 2, 3)
) -> Tensor:
    """LayerCAM of several stages, fused by their largest value at each pixel.

    Each stage's map is divided by its largest value; those of the first two stages,
    of which few pixels are strong, become ``tanh(2 M / max M)`` (section III-C).

    Returns
    -------
    (B, H, W) Tensor in 0..1, at the images' size
    """
    maps, slopes = _slopes(network, images, index, stages)
    fused = []
    for stage, one, slope in zip(stages, maps, slopes, strict=True):
        found = _layer(one, slope)
        share = found / found.amax((1, 2), keepdim=True).clamp_min(_LEAST)
        if stage in range(SHALLOW):
            share = torch.tanh(GAMMA * share)
        fused.append(resized(share, images))
    return torch.stack(fused).amax(0)


def resized(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (B, h, w) at the size of images (B, C, H, W)."""
    size = images.shape[2:]
    return functional.interpolate(
        maps[:, None], size, mode="bilinear", align_corners=False
    )[:, 0]


def _layer(maps: Tensor, slopes: Tensor) -> Tensor:
    return functional.relu((maps * functional.relu(slopes)).sum(1))


def _slopes(
    network: Staged, images: Tensor, index: int, stages: Sequence[int]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Maps of some stages, and the gradients of each image's own logit by them."""
    check_staged(network, index)
    with torch.enable_grad():
        # So that there are gradients of a network whose weights are frozen, too.
        shown = images.detach().requires_grad_()
        maps = network.stages(shown)
        wanted = [maps[stage] for stage in stages]
        # A logit depends on its own image alone: the sum's gradient is each one's.
        total = network.answer(maps)[:, index].sum()
        slopes = torch.autograd.grad(total, wanted, allow_unused=True)
    found = [
        torch.zeros_like(one) if slope is None else slope
        for one, slope in zip(wanted, slopes, strict=True)
    ]
    return [one.detach() for one in wanted], tuple(found)


def check_staged(network: object, index: int) -> None:
    """Refuse a network without stages, or a structure that it does not know."""
    if not isinstance(network, Staged):
        raise UserError(
            f"{type(network).__name__} has no stages that a CAM could be made of; "
            "train a slice_classifier, local_classifier, seam or ame_cam"
        )
    if not 0 <= index < network.classes:
        raise UserError(
            f"structure {index} is not one of the classifier's {network.classes}"
        )
