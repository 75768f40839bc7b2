"""Patches and texts: against loops written out, and where the two ways differ."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffseg.segmenters.text.similarity import (
    channel_normalised,
    cosine_cam,
    cosine_similarity,
    mean_direction,
    min_max,
    surgery_cam,
    surgery_scores,
)

B, N, E, K, T = 2, 7, 5, 2, 4


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    patches = torch.randn(B, N, E, generator=source)
    token = torch.randn(B, E, generator=source)
    texts = torch.randn(T, E, generator=source)
    return patches, token, texts / texts.norm(dim=-1, keepdim=True)


def slow_cosine(patches: Tensor, texts: Tensor) -> Tensor:
    found = torch.zeros(B, N, len(texts))
    for b in range(B):
        for n in range(N):
            for k, text in enumerate(texts):
                patch = patches[b, n]
                found[b, n, k] = patch @ text / (patch.norm() * text.norm())
    return found


def slow_surgery(patches: Tensor, token: Tensor, texts: Tensor) -> Tensor:
    """Element by element, in the order of the released code."""
    found = torch.zeros(B, 1 + N, T)
    for b in range(B):
        tokens = torch.cat([token[b : b + 1], patches[b]])
        for e in range(E):
            tokens[:, e] = tokens[:, e] / tokens[:, e].norm()
        shares = [math.exp(2 * float(tokens[0] @ text)) for text in texts]
        shares = [one / sum(shares) for one in shares]
        weights = [one / (sum(shares) / T) for one in shares]
        for n in range(1 + N):
            features = torch.stack(
                [tokens[n] * text * w for text, w in zip(texts, weights, strict=True)]
            )
            found[b, n] = (features - features.mean(0)).sum(-1)
    return found


def slow_min_max(values: Tensor) -> Tensor:
    found = torch.zeros_like(values)
    for b in range(values.shape[0]):
        for k in range(values.shape[2]):
            one = values[b, :, k]
            found[b, :, k] = (one - one.min()) / (one.max() - one.min())
    return found


def test_cosine_is_the_loop() -> None:
    patches, _, texts = drawn()
    wanted = slow_cosine(patches, texts)
    torch.testing.assert_close(cosine_similarity(patches, texts), wanted)
    torch.testing.assert_close(
        cosine_cam(patches, texts), slow_min_max(wanted.clamp(min=0))
    )


def test_surgery_is_the_loop() -> None:
    patches, token, texts = drawn()
    wanted = slow_surgery(patches, token, texts)
    torch.testing.assert_close(surgery_scores(patches, token, texts), wanted)
    cam = surgery_cam(patches, token, texts, K)
    assert cam.shape == (B, N, K)
    # Stretched with the class token, then without it.
    torch.testing.assert_close(cam, slow_min_max(wanted)[:, 1:, :K])


def test_the_class_token_bounds_the_surgery_s_range() -> None:
    patches, token, texts = drawn(3)
    scores = surgery_scores(patches, token, texts)
    cam = surgery_cam(patches, token, texts, T)
    brightest = scores.argmax(dim=1)
    assert (brightest == 0).any()
    for b, k in torch.cartesian_prod(torch.arange(B), torch.arange(T)).tolist():
        if brightest[b, k] == 0:
            assert cam[b, :, k].max() < 1
        else:
            torch.testing.assert_close(cam[b, :, k].max(), torch.tensor(1.0))


def test_the_norm_is_over_tokens_and_not_over_channels() -> None:
    patches, token, texts = drawn()
    lengths = channel_normalised(patches).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(B, E))
    # One patch twice as long: cosine does not see it, the surgery does.
    longer = patches.clone()
    longer[:, 2] *= 2
    torch.testing.assert_close(cosine_cam(longer, texts), cosine_cam(patches, texts))
    assert not torch.allclose(
        surgery_cam(longer, token, texts, K), surgery_cam(patches, token, texts, K)
    )
    # One channel ten times as wide: the other way round.
    wide = torch.ones(E)
    wide[1] = 10
    assert not torch.allclose(
        cosine_cam(patches * wide, texts), cosine_cam(patches, texts)
    )
    torch.testing.assert_close(
        surgery_cam(patches * wide, token * wide, texts, K),
        surgery_cam(patches, token, texts, K),
    )


def test_what_all_texts_share_is_taken_away_by_the_surgery() -> None:
    patches, token, texts = drawn()
    scores = surgery_scores(patches, token, texts)
    torch.testing.assert_close(scores.sum(-1), torch.zeros(B, 1 + N), atol=1e-5, rtol=0)
    fewer = surgery_cam(patches, token, texts[:-1], K)
    assert not torch.allclose(fewer, surgery_cam(patches, token, texts, K))
    assert torch.equal(
        cosine_cam(patches, texts[:-1])[..., :K], cosine_cam(patches, texts)[..., :K]
    )
    alone = surgery_cam(patches, token, texts[:1], 1)
    assert torch.equal(alone, torch.zeros(B, N, 1))


def test_constant_maps_are_dark_and_not_nan() -> None:
    assert torch.equal(min_max(torch.full((1, 4, 2), 3.0)), torch.zeros(1, 4, 2))
    _, _, texts = drawn()
    same = texts[:1].expand(B, N, E)
    found = cosine_cam(same, texts)
    assert found.isfinite().all()
    assert torch.equal(found[..., 0], torch.zeros(B, N))
    none = torch.zeros(B, N, E)
    assert cosine_cam(none, texts).isfinite().all()
    assert surgery_cam(none, torch.zeros(B, E), texts, K).isfinite().all()


def test_opposite_patches_are_dark() -> None:
    text = torch.tensor([[1.0, 0.0]])
    patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-2.0, 0.0]]])
    assert torch.equal(
        cosine_cam(patches, text)[0, :, 0], torch.tensor([1.0, 0.0, 0.0, 0.0])
    )


def test_a_batch_is_as_one_by_one_and_patches_keep_their_order() -> None:
    patches, token, texts = drawn()
    turned = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    whole = surgery_cam(patches, token, texts, K)
    torch.testing.assert_close(
        surgery_cam(patches[:, turned], token, texts, K), whole[:, turned]
    )
    torch.testing.assert_close(surgery_cam(patches[1:], token[1:], texts, K), whole[1:])


def test_the_mean_direction_forgets_lengths() -> None:
    one = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    torch.testing.assert_close(mean_direction(one), torch.full((2,), 0.5**0.5))
    assert mean_direction(one * 7).norm() == pytest.approx(1)
