"""Activation maps spread over places that a frozen network takes for alike.

What is known of DiG: the map of a classifier, refined by affinities of a diffusion
model's features, stays at their resolution. Its code is not public, so that how alike
two places are is defined here, as a power of the cosine.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LEAST = 1e-6


def feature_affinity(features: Tensor, sharpness: float) -> Tensor:
    """How alike the N = y * x places of a map are, by their features.

    Parameters
    ----------
    features : (B, C, y, x) Tensor
        Of any scale: each channel is brought to mean 0 and deviation 1 over the places.
    sharpness : float
        Power of the cosine; what is negative counts as 0.

    Returns
    -------
    (B, N, N) float32 Tensor
        Rows sum to 1.
    """
    flat = features.float().flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    unit = functional.normalize(
        centred / (centred.std(2, keepdim=True) + _LEAST), dim=1
    )
    alike = functional.relu(unit.transpose(1, 2) @ unit) ** sharpness
    # A place without features of its own is like no other, and keeps what it has.
    alike = torch.maximum(
        alike, _LEAST * torch.eye(alike.shape[1], device=alike.device)
    )
    return alike / alike.sum(2, keepdim=True)


def refine_by_features(
    maps: Tensor, features: Tensor, *, iterations: int = 1, sharpness: float = 16.0
) -> Tensor:
    """Each place takes the mean of those that are like it, again and again.

    Parameters
    ----------
    maps : (B, K, Y, X) Tensor
        Brought to the features' size by means.
    features : (B, C, y, x) Tensor
        At most as large as the maps.
    iterations : int
    sharpness : float
        See `feature_affinity`; less of it blurs the map.

    Returns
    -------
    (B, K, y, x) float32 Tensor
        Within the range of the maps.
    """
    size = (features.shape[2], features.shape[3])
    small = functional.adaptive_avg_pool2d(maps.float(), size).flatten(2)
    weights = feature_affinity(features, sharpness).transpose(1, 2)
    for _ in range(iterations):
        small = small @ weights
    return small.reshape(*maps.shape[:2], *size)
