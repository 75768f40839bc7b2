"""Retrieval from the cache, and the adapter that begins where it ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from beside import beside

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.cache_adapter import CacheAdapter, activated, normalised
from diffseg.segmenters.text.retrieval import (
    adapter_of,
    answered,
    branches,
    fused,
    memory_of,
    static_scores,
)
from diffseg.segmenters.text.similarity import min_max

made = beside(__file__, "made_features")
WEIGHTINGS = ("text", "one_hot", "softmax")
NORMALISATIONS = ("patch", "image")


def test_static_retrieval_patch_by_patch() -> None:
    toy, cache = made.made_features(), made.made_cache()
    found = static_scores(memory_of(cache), toy.features)
    for image in range(2):
        for patch in range(toy.features.shape[1]):
            feature = toy.features[image, patch].numpy()
            wanted = np.zeros(3)
            for key, value in zip(cache.keys, cache.values, strict=True):
                lengths = np.linalg.norm(feature) * np.linalg.norm(key)
                wanted += max(0.0, float(feature @ key) / lengths) * value
            np.testing.assert_allclose(found[image, patch], wanted, atol=1e-5)


def test_retrieval_of_the_published_code_channel_by_channel() -> None:
    toy, cache = made.made_features(), made.made_cache(normalisation="image")
    found = static_scores(memory_of(cache), toy.features, toy.class_token)
    image = 1
    tokens = torch.cat([toy.class_token[image, None], toy.features[image]])
    tokens = tokens / tokens.norm(dim=0)
    whole = [2 * float(tokens[0] @ torch.tensor(key)) for key in cache.keys]
    total = sum(math.exp(one) for one in whole)
    weights = [math.exp(one) / total * len(whole) for one in whole]
    for patch in range(3):
        feature = tokens[1 + patch].numpy()
        products = np.array(
            [feature * k * w for k, w in zip(cache.keys, weights, strict=True)]
        )
        similarity = (products - products.mean(0)).sum(1)
        wanted = similarity.clip(0) @ cache.values
        np.testing.assert_allclose(found[image, patch], wanted, atol=1e-5)
    with pytest.raises(ValueError, match="class token"):
        static_scores(memory_of(cache), toy.features)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_order_of_the_keys_plays_no_part(
    weighting: str, normalisation: str
) -> None:
    toy = made.made_features()
    cache = made.made_cache(weighting=weighting, normalisation=normalisation)
    order = np.random.default_rng(2).permutation(len(cache.keys)).tolist()
    both = [
        static_scores(memory_of(one), toy.features, toy.class_token)
        for one in (cache, made.reordered(cache, order))
    ]
    torch.testing.assert_close(*both)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_batch_is_its_images_one_by_one(normalisation: str) -> None:
    toy = made.made_features()
    memory = memory_of(made.made_cache(normalisation=normalisation))
    whole = branches(static_scores(memory, toy.features, toy.class_token))
    for image in range(4):
        one = slice(image, image + 1)
        alone = branches(static_scores(memory, toy.features[one], toy.class_token[one]))
        torch.testing.assert_close(whole[one], alone)


def test_a_patch_as_long_again_says_the_same_in_the_papers_way() -> None:
    toy, memory = made.made_features(), memory_of(made.made_cache())
    torch.testing.assert_close(
        static_scores(memory, 3 * toy.features), static_scores(memory, toy.features)
    )


def test_normalising_over_patches_or_over_the_image() -> None:
    toy = made.made_features()
    each = normalised(toy.features)
    torch.testing.assert_close(each.norm(dim=-1), torch.ones(each.shape[:2]))
    over = normalised(toy.features, toy.class_token, "image")
    tokens = torch.cat([toy.class_token[:, None], toy.features], dim=1)
    torch.testing.assert_close(over * tokens.norm(dim=1, keepdim=True), toy.features)
    assert not torch.allclose(each, over)
    with pytest.raises(ValueError, match="class token"):
        normalised(toy.features, None, "image")


def test_both_ways_differ_where_they_should() -> None:
    toy = made.made_features()
    found = [
        branches(
            static_scores(
                memory_of(made.made_cache(normalisation=one)),
                toy.features,
                toy.class_token,
            )
        )
        for one in NORMALISATIONS
    ]
    assert not torch.allclose(*found, atol=0.05)


def test_exponentials_favour_the_nearest_key() -> None:
    similarity = torch.tensor([-1.0, 0.5, 1.0])
    assert activated(similarity).tolist() == [0, 0.5, 1]
    found = activated(similarity, "exp", 2.0)
    torch.testing.assert_close(found, torch.tensor([math.exp(-4), math.exp(-1), 1.0]))


def test_background_holds_the_classes_down() -> None:
    scores = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]])
    found = branches(scores)[0, :, 0]
    assert found.tolist() == pytest.approx([1.0, 0.0, 0.25, 0.0])
    alone = branches(scores, negative=False)[0, :, 0]
    assert alone.tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_maps_find_the_classes_of_made_images() -> None:
    from diffseg.segmenters.text.cache import CachedImage
    from diffseg.segmenters.text.cache_building import build_cache
    from diffseg.segmenters.text.masked_means import masked_means

    toy, seen = made.made_features(seed=8, noise=0.15), made.made_features(noise=0.15)
    # The same classes, other images.
    directions = toy.directions[toy.classes]
    there = seen.directions[toy.classes] + toy.features - directions
    images = tuple(CachedImage(str(index)) for index in range(4))
    means = masked_means(normalised(seen.features), seen.masks, images)
    cache = build_cache(means, made.NAMES, seen.texts, made.BACKBONES, seed=0)
    found = branches(static_scores(memory_of(cache), there))
    for index in range(2):
        inside = toy.classes == index + 1
        assert found[..., index][inside].min() > found[..., index][~inside].max()


def test_maps_go_from_0_to_1_and_constant_ones_are_0() -> None:
    maps = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    maps[1, :, 2] = 4.2
    found = min_max(maps)
    assert found.amin(1).abs().max() == 0
    wanted = torch.ones(2, 3)
    wanted[1, 2] = 0
    torch.testing.assert_close(found.amax(1), wanted)
    one = (maps[0, 3, 1] - maps[0, :, 1].min()) / (
        maps[0, :, 1].max() - maps[0, :, 1].min()
    )
    assert float(found[0, 3, 1]) == pytest.approx(float(one))
    wobble = torch.full((1, 5, 1), 4.2)
    wobble[0, 2, 0] += 5e-7
    assert not min_max(wobble).any()


def test_maps_of_cache_and_texts_are_weighed() -> None:
    source = torch.Generator().manual_seed(0)
    retrieved, cam = (torch.rand(2, 9, 2, generator=source) for _ in range(2))
    found = fused(retrieved, cam, 0.3)
    torch.testing.assert_close(found, min_max(0.3 * retrieved + cam))
    torch.testing.assert_close(fused(retrieved, cam, 0), min_max(cam))
    present = torch.tensor([[True, False], [True, True]])
    shown = fused(retrieved, cam, 0.3, present)
    assert not shown[0, :, 1].any()
    torch.testing.assert_close(shown[1], found[1])


@pytest.mark.parametrize("activation", ["relu", "exp"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_adapter_begins_as_static_retrieval(
    weighting: str, activation: Any
) -> None:
    toy, cache = made.made_features(), made.made_cache(weighting=weighting)
    adapter = adapter_of(cache, prompts=0, activation=activation).eval()
    wanted = static_scores(memory_of(cache), toy.features, activation=activation)
    torch.testing.assert_close(adapter(toy.features), wanted)
    torch.testing.assert_close(answered(wanted), wanted[..., 1:].clamp_min(0))


def test_without_dropout_it_begins_so_while_learning_too() -> None:
    toy, cache = made.made_features(), made.made_cache()
    wanted = static_scores(memory_of(cache), toy.features)
    learning = adapter_of(cache, prompts=0, dropout=0.0).train()
    torch.testing.assert_close(learning(toy.features), wanted)
    dropped = adapter_of(cache, prompts=0, dropout=0.5).train()
    assert not torch.allclose(dropped(toy.features), wanted)
    logits = adapter_of(cache, prompts=0, dropout=0.0, logit_dropout=0.5).train()
    assert (logits(toy.features) == 0).any()


def test_classes_alone_may_be_the_values_of_an_adapter() -> None:
    toy, cache = made.made_features(), made.made_cache()
    adapter = adapter_of(cache, prompts=0, values="one_hot").eval()
    plain = memory_of(replace(cache, weighting="one_hot"))
    torch.testing.assert_close(
        adapter(toy.features), static_scores(plain, toy.features)
    )


def test_prompts_come_after_the_cache_and_are_as_wide_as_said() -> None:
    torch.manual_seed(0)
    cache = made.made_cache()
    adapter = adapter_of(cache, prompts=400).requires_grad_(False)
    memory = memory_of(cache)
    torch.testing.assert_close(adapter.similarity.weight[:9], memory.keys)
    torch.testing.assert_close(adapter.answer.weight[:, :9], memory.values.T)
    std = made.WIDTH**-0.5
    for weight in (adapter.similarity.weight[9:], adapter.answer.weight[:, 9:]):
        assert float(weight.abs().max()) <= 2 * std + 1e-6
        # A normal distribution cut at two deviations has 0.88 of its deviation.
        assert float(weight.std()) == pytest.approx(0.88 * std, rel=0.05)
    wide = adapter_of(cache, prompts=400, prompt_std=1.0).requires_grad_(False)
    assert float(wide.similarity.weight[9:].std()) == pytest.approx(0.88, rel=0.05)


def test_biases_are_zero_or_as_in_the_published_code() -> None:
    zeros = CacheAdapter(8, 2, 3, 4)
    assert not zeros.similarity.bias.any()
    assert not zeros.answer.bias.any()
    torch.manual_seed(0)
    random = CacheAdapter(8, 2, 3, 4, biases="uniform")
    assert random.similarity.bias.abs().max() <= 8**-0.5
    assert random.similarity.bias.any()


def test_an_adapter_of_normalised_images_needs_their_class_token() -> None:
    toy = made.made_features()
    cache = made.made_cache(normalisation="image")
    adapter = adapter_of(cache, prompts=0).eval()
    features = normalised(toy.features, toy.class_token, "image")
    wanted = (features @ torch.tensor(cache.keys).T).relu() @ torch.tensor(cache.values)
    torch.testing.assert_close(adapter(toy.features, toy.class_token), wanted)
    with pytest.raises(ValueError, match="class token"):
        adapter(toy.features)


def test_all_of_an_adapter_learns() -> None:
    toy = made.made_features()
    adapter = adapter_of(made.made_cache(), prompts=5)
    adapter(toy.features).square().sum().backward()
    for parameter in adapter.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()


def test_adapters_are_built_by_name_and_refuse_what_they_cannot_take() -> None:
    found = build_network("cache_adapter", features=8, classes=3, keys=5, prompts=2)
    assert found(torch.randn(2, 6, 8)).shape == (2, 6, 4)
    for wrong in ({"keys": 0, "prompts": 0}, {"biases": "one"}, {"keyes": 3}):
        with pytest.raises(UserError):
            build_network("cache_adapter", **wrong)
    adapter = CacheAdapter(8, 3, 5, 2)
    with pytest.raises(ValueError, match="keys"):
        adapter.begin_with(torch.zeros(4, 8), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="values"):
        adapter.begin_with(torch.zeros(5, 8), torch.zeros(5, 3))


def test_an_empty_cache_cannot_be_asked() -> None:
    with pytest.raises(UserError, match="no keys"):
        memory_of(made.made_cache().without(*range(9)))


def test_features_in_half_precision_are_asked_in_single() -> None:
    toy = made.made_features()
    for normalisation in NORMALISATIONS:
        memory = memory_of(made.made_cache(normalisation=normalisation))
        half = [one.half() for one in (toy.features, toy.class_token)]
        found = static_scores(memory, *half)
        assert found.dtype == torch.float32
        wanted = static_scores(memory, *(one.float() for one in half))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
