"""The stage that teaches the pixel decoder, on features whose classes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffseg.errors import UserError
from diffseg.networks.pixel_decoder import PixelDecoder
from diffseg.progress import run
from diffseg_training.cache import Cache
from diffseg_training.settings.cldf import Decoding
from diffseg_training.weak.decoding import Decoded, iter_decode, standardise
from diffseg_training.weak.pixels import pixel_files


def store(folder: Path, slices: int = 6, inside: int = 30) -> Cache:
    """Features of which one channel tells the class, and one is large and does not."""
    cache, source = Cache(folder), np.random.default_rng(0)
    for index in range(slices):
        classes = np.repeat([0, 1], [90, inside]).astype(np.int8)
        features = source.normal(0, 1, (len(classes), 5))
        features[:, 2] += 6 * classes
        features[:, 4] = 1000 * features[:, 4] + 5000
        name = f"{index:06d}-0000"
        cache.write(name, features=features.astype(np.float16))
        cache.write(name, classes=classes)
    return cache


def decoder() -> PixelDecoder:
    torch.manual_seed(0)
    return PixelDecoder((3, 2), width=16)


def decoded(
    folder: Path, net: PixelDecoder, classes: int = 1, seed: int = 0
) -> Decoded:
    options = Decoding(epochs=8, batch=2, pixels=120, learning_rate=0.05)
    return run(iter_decode(folder, net, classes, options, 0.1, seed=seed, device="cpu"))


def test_channels_are_standardised_over_all_pixels(tmp_path: Path) -> None:
    cache, net = store(tmp_path), decoder()
    standardise(net, pixel_files(tmp_path), cache)
    every = np.concatenate(
        [cache.read(name, "features") for name in pixel_files(tmp_path)]
    ).astype(np.float64)
    np.testing.assert_allclose(net.mean, every.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(net.deviation, every.std(0), rtol=1e-3)


def test_classes_are_drawn_apart_and_references_are_their_means(tmp_path: Path) -> None:
    cache, net = store(tmp_path), decoder()
    found = decoded(tmp_path, net)
    assert found.losses[-1] < found.losses[0]
    assert found.steps == 24
    embedded, said = [], []
    for name in pixel_files(tmp_path):
        features = torch.from_numpy(np.array(cache.read(name, "features"))).float()
        embedded.append(net(features))
        said.append(torch.from_numpy(np.array(cache.read(name, "classes"))))
    z, classes = torch.cat(embedded), torch.cat(said)
    for index in range(2):
        wanted = z[classes == index].mean(0)
        torch.testing.assert_close(found.references[index], wanted)
    nearest = torch.cdist(z, found.references).argmin(1)
    assert float((nearest == classes).float().mean()) > 0.97
    assert not net.training


def test_the_same_seed_learns_the_same(tmp_path: Path) -> None:
    store(tmp_path)
    one, two, other = (decoded(tmp_path, decoder(), seed=s) for s in (0, 0, 1))
    assert one.losses == two.losses
    assert one.losses != other.losses


def test_a_class_without_pixels_is_told(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(UserError, match="no slice has pixels of class 2"):
        decoded(tmp_path, decoder(), classes=2)
