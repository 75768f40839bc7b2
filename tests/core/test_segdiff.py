"""SegDiff: the image is read once, and told once or at every level."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks import build_network

SMALL: dict[str, Any] = {
    "channels": 32, "multipliers": (1, 1, 2), "blocks": 1, "heads": 2,
    "attention": (4,), "reader_blocks": 1, "reader_width": 16, "reader_growth": 8,
}  # fmt: skip


def network(**config: Any) -> Any:
    torch.manual_seed(0)
    net = build_network("segdiff", **SMALL | config)
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def example(side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    noisy, image = torch.randn(2, 1, side, side), torch.randn(2, 3, side, side)
    return noisy, torch.tensor([3, 80]), image


def test_the_default_is_monuseg_s() -> None:
    with torch.device("meta"):
        net: Any = build_network("segdiff")
    assert net.multiple == 64
    assert (net.mask_channels, net.learned_variance) == (1, False)
    assert len(net.input_blocks) == 1 + 7 * 3 + 6
    assert len(net.rrdb.RRDB_trunk) == 12


@pytest.mark.parametrize("conditioning", ["once", "levels"])
def test_features_do_not_depend_on_mask_or_level(conditioning: str) -> None:
    net = network(conditioning=conditioning)
    noisy, t, image = example()
    features = net.encode(image)
    assert len(features) == (1 if conditioning == "once" else 3)
    answer = net(noisy, t, image)
    torch.testing.assert_close(net.denoise(noisy, t, features), answer)
    assert (answer - net(noisy, t, image.flip(3))).abs().max() > 1e-4
    assert answer.shape == noisy.shape


def test_levels_are_told_where_once_is_not() -> None:
    net = network(conditioning="levels")
    noisy, t, image = example()
    features = net.encode(image)
    assert [tuple(f.shape[1:]) for f in features] == [
        (32, 16, 16), (32, 8, 8), (32, 4, 4)
    ]  # fmt: skip
    answer = net.denoise(noisy, t, features)
    for level in range(3):
        other = [f * (2.0 if i == level else 1.0) for i, f in enumerate(features)]
        assert (net.denoise(noisy, t, other) - answer).abs().max() > 1e-5


def test_levels_begin_as_once() -> None:
    torch.manual_seed(0)
    once: Any = build_network("segdiff", **SMALL)
    nn.init.normal_(once.out[2].weight)
    levels: Any = build_network("segdiff", **SMALL, conditioning="levels")
    levels.load_state_dict(once.state_dict(), strict=False)
    torch.testing.assert_close(levels(*example()), once(*example()))


def test_a_wrong_conditioning_is_told() -> None:
    with pytest.raises(UserError, match="once or levels"):
        build_network("segdiff", **SMALL, conditioning="twice")
