"""Keys from features and masks: means, clusters, what is skipped, and growth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from beside import beside

from diffseg.errors import UserError
from diffseg.segmenters.text.cache import CachedImage
from diffseg.segmenters.text.cache_building import build_cache, clustered_keys, grown
from diffseg.segmenters.text.masked_means import (
    MaskedMeans,
    masked_means,
    masks_on_grid,
)

made = beside(__file__, "made_features")


def named(count: int, first: int = 0) -> tuple[CachedImage, ...]:
    return tuple(CachedImage(f"case {first + index}") for index in range(count))


def means_of(toy: Any, **options: Any) -> MaskedMeans:
    return masked_means(toy.features, toy.masks, named(len(toy.features)), **options)


def one_by_one(features: Any, inside: Any) -> Any:
    """Mean feature of the patches inside, without a matrix."""
    total, number = np.zeros(features.shape[1]), 0
    for feature, counted in zip(features, inside, strict=True):
        if counted:
            total, number = total + feature, number + 1
    return total / number


def test_means_are_those_of_the_patches_inside_and_of_the_rest() -> None:
    toy = made.made_features()
    found = means_of(toy)
    assert found.classes.tolist() == [0, 1, 2] * 4
    assert [one.id for one in found.images[::3]] == [f"case {i}" for i in range(4)]
    for place, (feature, index) in enumerate(
        zip(found.features, found.classes, strict=True)
    ):
        image = place // 3
        inside = (toy.classes[image] == index).numpy()
        wanted = one_by_one(toy.features[image].numpy(), inside)
        np.testing.assert_allclose(feature, wanted, rtol=1e-5, atol=1e-6)
    assert found.empty == (0, 0, 0)


def test_empty_masks_are_skipped_and_counted() -> None:
    toy = made.made_features()
    masks = toy.masks.clone()
    masks[1, 0] = False
    masks[2] = False
    masks[3, 1] = True  # nothing is left of the background
    masks[3, 0] = False
    found = masked_means(toy.features, masks, named(4))
    assert found.empty == (1, 3, 1)
    assert found.classes.tolist() == [0, 1, 2, 0, 2, 0, 2]
    assert np.isfinite(found.features).all()


def test_a_class_that_is_not_shown_is_neither_missed_nor_kept() -> None:
    toy = made.made_features()
    present = torch.tensor([[True, False]] * 4)
    found = means_of(toy, present=present)
    assert found.classes.tolist() == [0, 1] * 4
    assert found.empty == (0, 0, 0)
    rest = (toy.classes[0] != 1).numpy()
    wanted = one_by_one(toy.features[0].numpy(), rest)
    np.testing.assert_allclose(found.features[0], wanted, rtol=1e-5, atol=1e-6)


def test_patches_that_are_not_known_count_nowhere() -> None:
    toy = made.made_features()
    known = torch.rand(toy.classes.shape, generator=torch.Generator().manual_seed(1))
    spoilt = toy._replace(features=toy.features.clone())
    spoilt.features[known < 0.4] = 1e6
    found = means_of(spoilt, known=known >= 0.4)
    assert float(np.abs(found.features).max()) < 10
    assert len(found.classes) == 12


@pytest.mark.parametrize("wrong", ["masks", "images"])
def test_shapes_that_do_not_fit_are_refused(wrong: str) -> None:
    toy = made.made_features()
    masks = toy.masks[:, :, :-1] if wrong == "masks" else toy.masks
    with pytest.raises(ValueError, match=wrong):
        masked_means(toy.features, masks, named(3 if wrong == "images" else 4))


def test_masks_of_pixels_by_the_pixel_in_the_middle_or_by_share() -> None:
    masks = torch.zeros(1, 1, 6, 9, dtype=torch.bool)
    masks[0, 0, 1, 1] = True  # the middle of the first patch of 3 x 3
    masks[0, 0, :3, 3:] = True
    masks[0, 0, 1, 7] = False  # the middle of the third
    middle = masks_on_grid(masks, (2, 3))
    assert middle[0, 0].tolist() == [True, True, False, False, False, False]
    most = masks_on_grid(masks, (2, 3), share=8 / 9)
    assert most[0, 0].tolist() == [False, True, True, False, False, False]
    touched = masks_on_grid(masks, (2, 3), share=1 / 9)
    assert touched[0, 0].tolist() == [True, True, True, False, False, False]


def groups(seed: int, weights: tuple[float, ...] = (1.0,) * 12) -> MaskedMeans:
    """Twelve images of class 1 in three groups far apart, four of background."""
    source = np.random.default_rng(seed)
    centres = 10 * np.eye(3, 5)
    each = [centres[i % 3] + 0.1 * source.normal(size=5) for i in range(12)]
    rest = [source.normal(size=5) - 20 for _ in range(4)]
    images = [CachedImage(f"case {i}", weight=weights[i]) for i in range(12)]
    return MaskedMeans(
        np.array([*each, *rest], np.float32),
        np.array([1] * 12 + [0] * 4),
        (*images, *(CachedImage(f"rest {i}") for i in range(4))),
        (0, 0),
    )


def test_keys_are_the_means_of_the_images_they_name() -> None:
    means = groups(0)
    keys, classes, images = clustered_keys(means, 3, 2, seed=0)
    assert classes.tolist() == [0, 0, 1, 1, 1]
    of_image = {one.id: f for one, f in zip(means.images, means.features, strict=True)}
    for key, group in zip(keys, images, strict=True):
        wanted = sum(one.weight * of_image[one.id] for one in group)
        np.testing.assert_allclose(key, wanted, rtol=1e-5)
        assert sum(one.weight for one in group) == pytest.approx(1)
    found = {frozenset(one.id for one in group) for group in images[2:]}
    wanted_groups = {
        frozenset(f"case {i}" for i in range(start, 12, 3)) for start in range(3)
    }
    assert found == wanted_groups


def test_an_image_of_more_weight_draws_its_key() -> None:
    weights = (9.0, *(1.0,) * 11)
    keys, classes, images = clustered_keys(groups(0, weights), 3, 1, seed=0)
    place = next(
        index
        for index, group in enumerate(images)
        if any(one.id == "case 0" for one in group)
    )
    share = next(one.weight for one in images[place] if one.id == "case 0")
    assert share == pytest.approx(9 / 12)
    features = groups(0).features[[0, 3, 6, 9]]
    wanted = (9 * features[0] + features[1:].sum(0)) / 12
    np.testing.assert_allclose(keys[place], wanted, rtol=1e-5)
    assert classes[place] == 1


@pytest.mark.parametrize(("weight", "alone"), [(1.0, True), (0.001, False)])
def test_an_outlier_of_little_weight_has_no_key_of_its_own(
    weight: float, alone: bool
) -> None:
    places = [*range(5), *range(8, 13), 60]
    weights = [1.0] * 10 + [weight]
    images = tuple(
        CachedImage(str(place), weight=one)
        for place, one in zip(places, weights, strict=True)
    )
    features = np.array(places, np.float32)[:, None]
    means = MaskedMeans(features, np.ones(11, np.int64), images, (0, 0))
    groups = clustered_keys(means, 2, seed=0)[2]
    assert (["60"] in [[one.id for one in group] for group in groups]) is alone


def test_the_same_seed_gives_the_same_keys() -> None:
    source = np.random.default_rng(3)
    count = 60
    means = MaskedMeans(
        source.normal(size=(count, 4)).astype(np.float32),
        np.ones(count, np.int64),
        named(count),
        (0, 0),
    )
    first, again = (clustered_keys(means, 5, seed=7)[0] for _ in range(2))
    assert first.shape == (5, 4)
    np.testing.assert_array_equal(first, again)


def test_fewer_different_images_than_clusters_are_a_key_each() -> None:
    features = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    means = MaskedMeans(features, np.ones(3, np.int64), named(3), (0, 0))
    keys, _, images = clustered_keys(means, 10, seed=0)
    assert sorted(keys.tolist()) == [[0, 1], [1, 0]]
    assert sorted(len(group) for group in images) == [1, 2]


def test_without_clusters_every_feature_is_a_key() -> None:
    means = groups(1)
    keys, classes, images = clustered_keys(means, None, None, seed=0)
    np.testing.assert_allclose(keys[4:], means.features[:12])
    assert classes.tolist() == [0] * 4 + [1] * 12
    assert all(len(group) == 1 for group in images)


def test_a_cache_of_made_images_has_keys_near_their_classes() -> None:
    toy = made.made_features(images=12, noise=0.2)
    cache = build_cache(
        means_of(toy),
        made.NAMES,
        toy.texts,
        made.BACKBONES,
        seed=0,
        clusters=3,
        background_clusters=4,
    )
    assert dict(cache.counts()) == {"background": 4, "tumour": 3, "cyst": 3}
    keys = cache.keys / np.linalg.norm(cache.keys, axis=1, keepdims=True)
    nearest = (keys @ toy.directions.numpy().T).argmax(1)
    assert nearest.tolist() == cache.classes.tolist()
    assert {one.id for group in cache.images for one in group} == {
        f"case {i}" for i in range(12)
    }


def test_a_class_that_no_image_shows_is_refused_or_left_out() -> None:
    toy = made.made_features()
    masks = toy.masks.clone()
    masks[:, 1] = False
    means = masked_means(toy.features, masks, named(4))
    given = (means, made.NAMES, toy.texts, made.BACKBONES)
    with pytest.raises(
        UserError, match="no image shows cyst: 4 masks of it were empty"
    ):
        build_cache(*given, seed=0)
    cache = build_cache(*given, seed=0, partial=True)
    assert cache.counts()["cyst"] == 0
    assert not cache.values[:, 2].any()


def test_no_mask_at_all_is_refused() -> None:
    toy = made.made_features()
    nothing = torch.zeros(4, toy.features.shape[1], dtype=torch.bool)
    means = means_of(toy, known=nothing)
    assert means.empty == (4, 4, 4)
    with pytest.raises(UserError, match="no image has a mask"):
        build_cache(means, made.NAMES, toy.texts, made.BACKBONES, seed=0, partial=True)


def test_images_add_up_to_what_they_are_together() -> None:
    toy = made.made_features()
    whole = means_of(toy)
    parts = [
        masked_means(toy.features[part], toy.masks[part], named(2, first))
        for part, first in ((slice(0, 2), 0), (slice(2, 4), 2))
    ]
    joined = parts[0] + parts[1]
    np.testing.assert_allclose(joined.features, whole.features, rtol=1e-6)
    assert joined.images == whole.images
    assert joined.classes.tolist() == whole.classes.tolist()


def test_a_cache_grows_by_corrections_and_forgets_them_again() -> None:
    toy, later = made.made_features(images=8), made.made_features(seed=5, images=1)
    options: dict[str, Any] = {"clusters": 2, "background_clusters": 2}
    cache = build_cache(
        means_of(toy), made.NAMES, toy.texts, made.BACKBONES, seed=0, **options
    )
    image = (CachedImage("mine", "correction"),)
    more = masked_means(later.features, later.masks, image)
    larger = grown(cache, more, made.BACKBONES, seed=0)
    assert len(larger.keys) == len(cache.keys) + 3
    np.testing.assert_array_equal(larger.keys[: len(cache.keys)], cache.keys)
    assert larger.images[-1][0].origin == "correction"
    with pytest.raises(UserError, match="holds image mine already"):
        grown(larger, more, made.BACKBONES, seed=0)
    with pytest.raises(UserError, match="built with clip"):
        grown(cache, more, {"clip": "c"}, seed=0)
    again = larger.without(*larger.keys_of("mine"))
    np.testing.assert_array_equal(again.values, cache.values)
    assert again.images == cache.images
