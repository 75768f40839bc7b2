"""The key-value cache: its values, its growth, its file, and whom it answers."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import beside

from diffseg.errors import UserError
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_files import FILE, load_cache, save_cache
from diffseg.segmenters.text.cache_values import values_of

made = beside(__file__, "made_features")
WEIGHTINGS = ("text", "one_hot", "softmax")


def equal(a: KeyValueCache, b: KeyValueCache) -> bool:
    """Whether two caches hold the same."""
    arrays = ("keys", "classes", "texts", "values", "background_text")
    return (
        all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays)
        and a.images == b.images
        and a.pictures.keys() == b.pictures.keys()
        and all(np.array_equal(a.pictures[n], b.pictures[n]) for n in a.pictures)
        and dict(a.backbones) == dict(b.backbones)
        and (a.names, a.weighting, a.normalisation)
        == (b.names, b.weighting, b.normalisation)
    )


def test_values_of_the_paper_one_by_one() -> None:
    cache = made.made_cache()
    for key, index, value in zip(cache.keys, cache.classes, cache.values, strict=True):
        wanted = [0.0] * 3
        wanted[index] = 1.0
        if index:
            text = cache.texts[index - 1]
            lengths = math.sqrt(sum(key**2)) * math.sqrt(sum(text**2))
            wanted[index] = sum(a * b for a, b in zip(key, text, strict=True)) / lengths
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_values_of_the_published_code_one_by_one() -> None:
    cache = made.made_cache(weighting="softmax")
    texts = [cache.background_text, *cache.texts]
    for column, text in enumerate(texts):
        products = [float(key @ text) for key in cache.keys]
        total = sum(math.exp(one) for one in products)
        wanted = [math.exp(one) / total for one in products]
        np.testing.assert_allclose(cache.values[:, column], wanted, rtol=1e-5)


def test_a_product_of_zero_has_no_share_in_the_softmax() -> None:
    keys = np.array([[1, 0], [0, 1], [0, 2]], np.float32)
    texts = np.array([[0, 1]], np.float32)
    background = np.array([0, 0], np.float32)
    found = values_of(keys, np.array([0, 1, 1]), texts, background, weighting="softmax")
    assert found[:, 0].tolist() == [0, 0, 0]
    power = math.exp(1)
    np.testing.assert_allclose(found[:, 1], [0, 1 / (1 + power), power / (1 + power)])


def test_softmax_needs_the_text_of_the_background() -> None:
    with pytest.raises(ValueError, match="background"):
        made.made_cache(weighting="softmax", background_text=None)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_values_follow_the_keys_into_another_order(weighting: str) -> None:
    cache = made.made_cache(weighting=weighting)
    order = np.random.default_rng(1).permutation(len(cache.keys)).tolist()
    found = made.reordered(cache, order)
    np.testing.assert_allclose(found.values, cache.values[order], rtol=1e-6)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_dropped_key_was_never_there(weighting: str) -> None:
    cache = made.made_cache(weighting=weighting)
    kept = [0, 1, 3, 4, 5, 7, 8]
    never = made.reordered(cache, kept)
    assert equal(cache.without(2, 6), never)
    assert len(cache.keys) == 9


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_keys_that_come_later_are_as_if_there_from_the_start(weighting: str) -> None:
    whole = made.made_cache(weighting=weighting)
    part = whole.without(5, 6, 7, 8)
    later = part.with_keys(
        whole.keys[5:], whole.classes[5:], whole.images[5:], whole.pictures
    )
    assert equal(later, whole)


def test_nothing_in_it_can_be_changed() -> None:
    cache = made.made_cache()
    with pytest.raises(FrozenInstanceError):
        cache.names = ("other",)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        cache.keys[0, 0] = 1
    with pytest.raises(TypeError):
        cache.backbones["clip"] = "c"  # type: ignore[index]


def test_a_key_tells_its_images_and_a_class_its_keys() -> None:
    cache = made.made_cache()
    assert cache.keys_of("image 9") == (4,)
    assert cache.keys_of("nobody") == ()
    assert dict(cache.counts()) == {"background": 3, "tumour": 3, "cyst": 3}
    assert cache.one_hot.sum(0).tolist() == [3, 3, 3]
    assert cache.one_hot.argmax(1).tolist() == cache.classes.tolist()


@pytest.mark.parametrize("index", [-1, 9])
def test_a_key_that_is_not_there_cannot_be_dropped(index: int) -> None:
    with pytest.raises(UserError, match=f"no key {index}; give 0 to 8"):
        made.made_cache().without(index)


def test_an_empty_cache_is_a_cache() -> None:
    empty = made.made_cache().without(*range(9))
    assert empty.values.shape == (0, 3)
    with pytest.raises(UserError, match="empty"):
        empty.without(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": np.ones((8, 12), np.float32)},
        {"keys": np.full((9, 12), np.nan, np.float32)},
        {"classes": np.full(9, 3)},
        {"classes": np.full(9, -1)},
        {"names": ("one", "one")},
        {"texts": np.ones((2, 5), np.float32)},
        {"images": ()},
        {"background_text": np.ones(5, np.float32)},
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        replace(made.made_cache(), **wrong)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_an_image_without_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="image"):
        CachedImage("a", "generated", weight)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, weighting: str) -> None:
    cache = made.made_cache(weighting=weighting, normalisation="image")
    save_cache(cache, tmp_path / "cache")
    again = load_cache(tmp_path / "cache", backbones=made.BACKBONES, names=made.NAMES)
    assert equal(again, cache)


def test_saving_again_replaces_and_leaves_no_other_file(tmp_path: Path) -> None:
    cache = made.made_cache(background_text=None)
    save_cache(cache, tmp_path)
    save_cache(cache.without(0), tmp_path)
    assert equal(load_cache(tmp_path), cache.without(0))
    assert len(list(tmp_path.iterdir())) == 3


def test_what_breaks_off_leaves_the_former_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = made.made_cache()
    save_cache(cache, tmp_path)
    from diffseg.segmenters.text import cache_files

    write = cache_files.atomic_write_bytes

    def breaks(path: Path, payload: bytes) -> Path:
        if path.name == FILE:
            raise KeyboardInterrupt
        return write(path, payload)

    monkeypatch.setattr(cache_files, "atomic_write_bytes", breaks)
    with pytest.raises(KeyboardInterrupt):
        save_cache(cache.without(0), tmp_path)
    assert equal(load_cache(tmp_path), cache)


def test_equal_caches_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_cache(made.made_cache(), tmp_path / name)
    files = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [one.name for one in files[0]] == [one.name for one in files[1]]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "backbones",
    [{**made.BACKBONES, "clip": "c" * 64}, {"clip": "a" * 64}, {}],
)
def test_another_backbone_is_refused_in_one_line(
    tmp_path: Path, backbones: dict[str, str]
) -> None:
    save_cache(made.made_cache(), tmp_path)
    with pytest.raises(UserError, match=r"was built with (clip|diffusion)") as told:
        load_cache(tmp_path, backbones=backbones)
    assert "\n" not in str(told.value)
    assert str(tmp_path) in str(told.value)


def test_a_backbone_more_than_it_was_built_with_is_refused() -> None:
    cache = replace(made.made_cache(), backbones={"clip": "a" * 64})
    with pytest.raises(UserError, match="built with diffusion none, not with bbbb"):
        cache.require(made.BACKBONES)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    save_cache(made.made_cache(), tmp_path)
    with pytest.raises(UserError, match="holds the classes tumour, cyst, not cyst, tu"):
        load_cache(tmp_path, names=("cyst", "tumour"))


def damage(folder: Path, how: str) -> None:
    """Damage a saved cache."""
    told = json.loads((folder / FILE).read_text())
    arrays = folder / told["arrays"]
    if how == "no json":
        (folder / FILE).unlink()
    elif how == "no arrays":
        arrays.unlink()
    elif how == "a byte":
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.write_bytes(bytes(content))
    elif how == "a key more":
        (folder / FILE).write_text(json.dumps({**told, "extra": 1}))
    elif how == "an image less":
        told["images"] = told["images"][:-1]
        (folder / FILE).write_text(json.dumps(told))
    elif how == "no text":
        (folder / FILE).write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "how",
    ["no json", "no arrays", "a byte", "a key more", "an image less", "no text"],
)
def test_a_damaged_cache_is_told_in_one_line(tmp_path: Path, how: str) -> None:
    save_cache(made.made_cache(), tmp_path)
    damage(tmp_path, how)
    with pytest.raises(UserError) as told:
        load_cache(tmp_path)
    assert "\n" not in str(told.value)


def test_no_file_elsewhere_is_read(tmp_path: Path) -> None:
    save_cache(made.made_cache(), tmp_path / "cache")
    told = json.loads((tmp_path / "cache" / FILE).read_text())
    (tmp_path / "cache" / told["arrays"]).rename(tmp_path / told["arrays"])
    told["arrays"] = f"../{told['arrays']}"
    (tmp_path / "cache" / FILE).write_text(json.dumps(told))
    with pytest.raises(UserError, match="cannot be read"):
        load_cache(tmp_path / "cache")


def test_a_cache_of_the_first_format_is_read_without_pictures(tmp_path: Path) -> None:
    cache = made.made_cache()
    save_cache(cache, tmp_path)
    told = json.loads((tmp_path / FILE).read_text())
    for key in ("pictures", "pictures_sha256"):
        told.pop(key)
    for group in told["images"]:
        for one in group:
            one.pop("source")
    told["format"] = "diffseg-cache-1"
    (tmp_path / FILE).write_text(json.dumps(told))
    again = load_cache(tmp_path)
    assert not again.pictures
    assert {one.thumbnail for group in again.images for one in group} == {""}
    assert np.array_equal(again.keys, cache.keys)
    save_cache(again, tmp_path)  # what is written is of the newer format
    assert json.loads((tmp_path / FILE).read_text())["format"] == "diffseg-cache-2"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_picture_goes_with_the_last_key_of_its_image() -> None:
    cache = made.made_cache()
    assert set(cache.without(4).pictures) == set(cache.pictures) - {"4"}


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 5, 2), np.uint8), np.zeros((4, 5)), np.zeros((0, 5), np.uint8)],
)
def test_what_is_no_picture_is_refused(picture: Any) -> None:
    cache = made.made_cache()
    with pytest.raises(ValueError, match="picture '0'"):
        replace(cache, pictures={**cache.pictures, "0": picture})
    with pytest.raises(ValueError, match="no picture"):
        replace(cache, pictures={})


def test_a_damaged_picture_is_told(tmp_path: Path) -> None:
    save_cache(made.made_cache(), tmp_path)
    file = next(tmp_path.glob("pictures-*"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"checksum of .*pictures-"):
        load_cache(tmp_path)
