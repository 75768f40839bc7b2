"""Maps spread over places that features take for alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffseg.segmenters.refining.features import feature_affinity, refine_by_features


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slow_affinity(features: Tensor, sharpness: float) -> np.ndarray:
    """Of one map (C, y, x), place by place."""
    flat = features.double().flatten(1).numpy()
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, ddof=1, keepdims=True)
    count = flat.shape[1]
    found = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            a, b = flat[:, i], flat[:, j]
            cosine = a @ b / np.sqrt((a @ a) * (b @ b))
            found[i, j] = max(cosine, 0) ** sharpness
        found[i] /= found[i].sum()
    return found


def test_affinities_are_powers_of_the_cosine() -> None:
    features = random(2, 5, 3, 4)
    found = feature_affinity(features, 3.0)
    for one, wanted in zip(found, features, strict=True):
        np.testing.assert_allclose(one, slow_affinity(wanted, 3.0), atol=1e-5)


def test_a_channel_s_scale_and_level_have_no_say() -> None:
    features = random(1, 4, 5, 5)
    other = features * torch.tensor([1e-3, 1, 50, 7])[None, :, None, None] + 11
    torch.testing.assert_close(
        feature_affinity(features, 4.0),
        feature_affinity(other, 4.0),
        atol=1e-3,
        rtol=1e-2,
    )


def test_a_map_is_shared_among_what_is_alike_and_nothing_else() -> None:
    features = torch.zeros(1, 2, 4, 4)
    features[:, 0, :, :2], features[:, 1, :, 2:] = 1, 1
    maps = torch.zeros(1, 1, 8, 8)
    maps[..., :4, :4] = 1  # one half of what lies on the left
    found = refine_by_features(maps, features)
    assert found.shape == (1, 1, 4, 4)
    torch.testing.assert_close(found[..., :2], torch.full((1, 1, 4, 2), 0.5))
    assert not found[..., 2:].any()


def test_rounds_are_one_after_another_and_places_without_features_keep_theirs() -> None:
    features, maps = random(1, 3, 4, 4), random(1, 2, 4, 4, seed=1)
    once = refine_by_features(maps, features)
    twice = refine_by_features(once, features)
    torch.testing.assert_close(refine_by_features(maps, features, iterations=2), twice)
    flat = torch.full((1, 3, 4, 4), 2.0)
    torch.testing.assert_close(refine_by_features(maps, flat), maps)
