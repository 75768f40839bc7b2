"""Activation maps spread along CLIP's own attention (CLIP-ES; WeCLIP; DiCLIP, 2.7).

Attention says which patches belong together. Made doubly stochastic, symmetric and
squared, it spreads an activation map over them, but only from within boxes around the
map's bright regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

_LEAST = 1e-8
_EIGHT = np.ones((3, 3), dtype=bool)


def mean_affinity(
    attention: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    """Mean attention of several layers.

    Parameters
    ----------
    attention : sequence of (B, N, N) Tensor
        Of the last layers, patches alone; the methods take 6.
    weights : sequence of float, optional
        Of each layer; all alike without. In DiCLIP's released code the last 3 weigh as
        many times as there are heads.

    Returns
    -------
    (B, N, N) Tensor

    Raises
    ------
    ValueError
        There is no layer, or not as many weights as layers, or they come to nothing.
    """
    shares = [1.0] * len(attention) if weights is None else list(weights)
    if not attention or len(shares) != len(attention) or sum(shares) <= 0:
        raise ValueError(f"{len(attention)} layers cannot be weighed by {shares}")
    total = torch.zeros_like(attention[0])
    for one, share in zip(attention, shares, strict=True):
        total += share * one
    return total / sum(shares)


def symmetric_affinity(attention: Tensor, rounds: int = 3, squares: int = 1) -> Tensor:
    """Turn attention into an affinity of patches.

    Sinkhorn and Knopp's (1967) rounds, each dividing by the sums of columns and then of
    rows, bring both to 1; the result is made symmetric, and multiplied by itself.

    Parameters
    ----------
    attention : (B, N, N) Tensor
        Not negative.
    rounds : int
        Of the normalisation.
    squares : int
        How often it is multiplied by itself.

    Returns
    -------
    (B, N, N) float32 Tensor
        Symmetric; rows and columns sum to 1 as nearly as the rounds bring them.
    """
    found = attention.float()
    for _ in range(rounds):
        found = found / found.sum(dim=1, keepdim=True).clamp(min=_LEAST)
        found = found / found.sum(dim=2, keepdim=True).clamp(min=_LEAST)
    found = (found + found.transpose(1, 2)) / 2
    for _ in range(squares):
        found = found @ found
    return found


def box_mask(cams: Tensor, grid: tuple[int, int], threshold: float) -> Tensor:
    """Boxes around the bright regions of activation maps.

    Parameters
    ----------
    cams : (B, N, K) Tensor
        Not negative.
    grid : (int, int)
        Patches (y, x), row by row; their product is N.
    threshold : float
        Share of a map's maximum from which a patch is bright, from 0 to 1.

    Returns
    -------
    (B, N, K) bool Tensor
        True within the upright box of any region of bright patches that touch, corners
        included; nowhere in a map that is 0 throughout.
    """
    fields = cams.detach().float().cpu().numpy()
    inside = np.zeros(fields.shape, dtype=bool)
    for image, class_index in np.ndindex(fields.shape[0], fields.shape[2]):
        field = fields[image, :, class_index].reshape(grid)
        peak = field.max()
        if peak <= 0:
            continue
        regions, _ = label(field >= threshold * peak, structure=_EIGHT)
        boxes = np.zeros(grid, dtype=bool)
        for box in find_objects(regions):
            boxes[box] = True
        inside[image, :, class_index] = boxes.ravel()
    return torch.from_numpy(inside).to(cams.device)


def affinity_refined(
    cams: Tensor, affinity: Tensor, grid: tuple[int, int], threshold: float = 0.79
) -> Tensor:
    """Spread activation maps along an affinity, from within their boxes.

    Parameters
    ----------
    cams : (B, N, K) Tensor
        Not negative.
    affinity : (B, N, N) Tensor
        As `symmetric_affinity` gives it.
    grid : (int, int)
        Patches (y, x).
    threshold : float
        Of the boxes: DiCLIP takes 0.79 in training on VOC, 0.88 elsewhere.

    Returns
    -------
    (B, N, K) float32 Tensor
        Not stretched to any range.

    Raises
    ------
    ValueError
        Shapes do not fit each other.
    """
    count = grid[0] * grid[1]
    if cams.shape[1] != count or affinity.shape != (len(cams), count, count):
        raise ValueError(
            f"maps {tuple(cams.shape)} and affinity {tuple(affinity.shape)} are not "
            f"both of a grid of {grid[0]} x {grid[1]}"
        )
    return affinity.float() @ (cams.float() * box_mask(cams, grid, threshold))
