"""What slices that show nothing say of where a class begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffseg.errors import UserError
from diffseg.networks.pixel_decoder import PixelDecoder
from diffseg.progress import run
from diffseg.segmenters.weak.clusters import log_odds, shares
from diffseg_training.cache import Cache
from diffseg_training.settings.cldf import Decoding
from diffseg_training.weak.absent import offsets_of_absent
from diffseg_training.weak.decoding import Decoded, iter_decode
from diffseg_training.weak.pixels import pixel_files

TAU = 0.1


def slices(folder: Path, empty: int = 4) -> Cache:
    """A channel says how like the class a pixel is; some of background are."""
    cache, source = Cache(folder), np.random.default_rng(0)
    for index in range(6 + empty):
        inside = 30 if index < 6 else 0
        classes = np.repeat([0, 1], [200 - inside, inside]).astype(np.int8)
        features = source.normal(0, 1, (200, 4))
        features[:, 1] += 3 * classes
        cache.write(f"{index:06d}-0000", features=features.astype(np.float16))
        cache.write(f"{index:06d}-0000", classes=classes)
    return cache


def decoded(folder: Path, **more: object) -> tuple[PixelDecoder, Decoded]:
    torch.manual_seed(0)
    net = PixelDecoder((4,), width=8)
    options = Decoding(epochs=8, batch=2, pixels=120, learning_rate=0.05, **more)  # type: ignore[arg-type]
    work = iter_decode(folder, net, 1, options, TAU, seed=0, device="cpu")
    return net, run(work)


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_so_many_pixels_of_slices_without_it_are_background(
    tmp_path: Path, share: float
) -> None:
    cache = slices(tmp_path)
    net, found = decoded(tmp_path, absent=share)
    assert found.offsets[0] == 0
    outside = np.concatenate(
        [cache.read(name, "features") for name in pixel_files(tmp_path)[6:]]
    )
    embedded = net(torch.from_numpy(outside).float()).numpy()
    centres, offsets = found.references.numpy(), found.offsets.numpy()
    likely = shares(embedded, centres, TAU, offsets)[:, 1]
    assert np.mean(likely > 0.5) == pytest.approx(1 - share, abs=0.002)
    # Without it the nearer centre decides, whatever is said.
    nearer = np.mean(shares(embedded, centres, TAU)[:, 1] > 0.5)
    assert nearer != pytest.approx(1 - share, abs=0.02)


def test_what_a_local_classifier_adds_is_asked_too(tmp_path: Path) -> None:
    cache = slices(tmp_path)
    names, source = pixel_files(tmp_path), np.random.default_rng(2)
    for name in names:
        told = source.normal(3, 2, (200, 1)).astype(np.float16)
        cache.write(name, local=told)
    net, found = decoded(tmp_path)
    wanted = []
    for name in names[6:]:
        features = torch.from_numpy(cache.read(name, "features")).float()
        odds = log_odds(net(features).numpy(), found.references.numpy(), TAU)[:, 1]
        wanted.append(odds + 0.5 * cache.read(name, "local")[:, 0].astype(np.float32))
    asked = offsets_of_absent(
        net, names, cache, found.references, TAU, 0.9, "cpu", local_weight=0.5
    )
    assert float(asked[1]) == pytest.approx(
        -np.quantile(np.concatenate(wanted), 0.9), abs=1e-4
    )


def test_slices_that_show_nothing_may_be_asked_and_not_learnt_from(
    tmp_path: Path,
) -> None:
    slices(tmp_path / "with")
    slices(tmp_path / "without", empty=0)
    _, learnt = decoded(tmp_path / "with")
    _, asked = decoded(tmp_path / "with", negatives=False)
    _, plain = decoded(tmp_path / "without")
    assert asked.steps == plain.steps == 24
    assert learnt.steps == 40
    torch.testing.assert_close(asked.references, plain.references)
    assert (plain.offsets == 0).all()


def test_where_nobody_said_absent_nothing_can_be_asked(tmp_path: Path) -> None:
    slices(tmp_path, empty=0)
    with pytest.raises(UserError, match="to how many may be taken"):
        decoded(tmp_path, absent=0.99)


def test_log_odds_are_those_of_the_probabilities() -> None:
    source = np.random.default_rng(1)
    z = source.normal(size=(20, 3)).astype(np.float32)
    centres = source.normal(size=(2, 3)).astype(np.float32)
    odds, offsets = log_odds(z, centres, TAU), np.array([0, -0.7], np.float32)
    likely = shares(z, centres, TAU, offsets)
    wanted = 1 / (1 + np.exp(-(odds[:, 1] - 0.7)))
    np.testing.assert_allclose(likely[:, 1], wanted, rtol=1e-4, atol=1e-6)
    assert (odds[:, 0] == 0).all()


def test_each_class_is_asked_by_itself(tmp_path: Path) -> None:
    cache = slices(tmp_path)
    net, _ = decoded(tmp_path)
    names = pixel_files(tmp_path)
    centres = torch.nn.functional.normalize(
        torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=1
    )
    both = offsets_of_absent(net, names, cache, centres, TAU, 0.95, "cpu")
    one = offsets_of_absent(net, names, cache, centres[[0, 2]], TAU, 0.95, "cpu")
    assert both.shape == (3,)
    torch.testing.assert_close(both[2], one[1])
