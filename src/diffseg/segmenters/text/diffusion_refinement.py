"""Class maps carried along a diffusion model's finest attention.

DiCLIP's released code refines its class activation maps so, before masks are made of
them: a random walk whose steps are a self-attention of the U-Net's decoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_SHARPENING = 0.02


def transition(attention: Tensor, *, sharpening: float = _SHARPENING) -> Tensor:
    """Steps of the walk, (B, M, M), from attention (B, M, M): rows sum to 1.

    Each column is divided by its largest entry a, and to each a > 0 is added
    ``sharpening * log10(e a)``, which favours what is near the largest and drops the
    weakest. A token that is left without any attention stays where it is.

    Parameters
    ----------
    attention : (B, M, M) Tensor
        Not negative; row i is what token i attends to.
    sharpening : float
        0 leaves the attention as it is, but for its columns.
    """
    steps = attention.float()
    steps = steps / steps.amax(-2, keepdim=True).clamp(min=1e-30)
    positive = steps > 0
    bend = torch.log10(math.e * torch.where(positive, steps, 1.0))
    steps = torch.where(positive, steps + sharpening * bend, 0.0).clamp(min=0)
    total = steps.sum(-1, keepdim=True)
    stay = torch.eye(steps.shape[-1], device=steps.device).expand_as(steps)
    return torch.where(total > 0, steps / total.clamp(min=1e-30), stay)


def walk(maps: Tensor, steps: Tensor, iterations: int) -> Tensor:
    """Carry maps (B, K, M) along `steps` (B, M, M); what they weigh stays the same.

    In each iteration a token takes the mean of those it attends to; then every map is
    shifted so that its smallest value is 0, and scaled so that it sums to 1. A map that
    is the same everywhere says nothing, and is 0 afterwards.
    """
    maps = _shares(maps)
    for _ in range(iterations):
        maps = _shares(maps @ steps.transpose(1, 2))
    return maps


def _shares(maps: Tensor) -> Tensor:
    least, most = torch.aminmax(maps, dim=-1, keepdim=True)
    flat = most - least <= 1e-6 * most.abs()  # what is left of it is rounding
    shifted = torch.where(flat, 0.0, maps - least)
    return shifted / shifted.sum(-1, keepdim=True).clamp(min=1e-30)


def refine_by_attention(
    maps: Tensor,
    attention: Tensor,
    grid: tuple[int, int],
    size: tuple[int, int],
    *,
    iterations: int = 10,
    sharpening: float = _SHARPENING,
) -> Tensor:
    """Refine class maps by a diffusion model's attention.

    Parameters
    ----------
    maps : (B, K, y, x) Tensor
        One a class, on any grid.
    attention : (B, M, M) Tensor
        Of M tokens on `grid`, row by row, its heads averaged; `Correlation.fine`.
    grid : (int, int)
        Rows and columns of the tokens.
    size : (int, int)
        Rows and columns of the answer.
    iterations : int
        Of the walk; the released code takes 5 in training, and 10 otherwise.
    sharpening : float
        See `transition`.

    Returns
    -------
    (B, K, *size) float32 Tensor
        Each map from 0 to 1; one that was the same everywhere is 0.
    """
    batch, classes = maps.shape[:2]
    tokens = _resized(maps.float(), grid).reshape(batch, classes, -1)
    steps = transition(attention, sharpening=sharpening)
    walked = walk(tokens, steps, iterations).reshape(batch, classes, *grid)
    return _spread(_resized(walked, size))


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def _spread(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)
    least = flat.amin(-1)[:, :, None, None]
    width = flat.amax(-1)[:, :, None, None] - least
    return torch.where(width > 0, (maps - least) / width.clamp(min=1e-30), 0.0)
