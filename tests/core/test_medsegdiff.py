"""MedSegDiff in both forms: when its condition network runs, and what teaches it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.medsegdiff_condition import FrequencyFilter

SMALL: dict[str, Any] = {
    "channels": 32, "multipliers": (1, 1, 2, 2), "blocks": 1, "attention": (8,),
    "image_channels": 3,
}  # fmt: skip
SIDE = 32


def network(version: str, **config: Any) -> Any:
    torch.manual_seed(0)
    if version == "v1":
        config = {"image_size": SIDE} | config
    net = build_network("medsegdiff", **SMALL | config, version=version)
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def example(mask: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    noisy = torch.randn(2, mask, SIDE, SIDE)
    return noisy, torch.tensor([3, 800]), torch.randn(2, 3, SIDE, SIDE)


@pytest.mark.parametrize("version", ["v1", "new"])
@pytest.mark.parametrize("mask", [1, 2])
def test_shapes_and_calibration(version: str, mask: int) -> None:
    net = network(version, mask_channels=mask)
    noisy, t, image = example(mask)
    out, calibration = net.denoise_calibrated(noisy, t, net.encode(image))
    assert out.shape == (2, 2 * mask, SIDE, SIDE)
    assert calibration.shape == noisy.shape
    assert calibration.min() > 0
    assert calibration.max() < 1
    torch.testing.assert_close(net(noisy, t, image), out)


def test_the_new_form_s_features_belong_to_the_image_alone() -> None:
    net = network("new")
    noisy, t, image = example()
    features = net.encode(image)
    _, calibration = net.denoise_calibrated(noisy, t, features)
    torch.testing.assert_close(net.calibration(features), calibration)
    changed = (features[0], features[1] + 1, features[2])
    other = net.denoise(noisy, t, changed) - net.denoise(noisy, t, features)
    assert other.abs().max() > 1e-3


def test_the_first_form_s_calibration_depends_on_the_noise_level() -> None:
    net = network("v1")
    assert not hasattr(net, "calibration")
    noisy, t, image = example()
    _, one = net.denoise_calibrated(noisy, t, net.encode(image))
    _, other = net.denoise_calibrated(noisy, t + 150, net.encode(image))
    assert (one - other).abs().max() > 0


def test_the_new_form_s_condition_network_learns_from_its_mask_only() -> None:
    net = network("new")
    noisy, t, image = example()
    out, calibration = net.denoise_calibrated(noisy, t, net.encode(image))
    out.square().mean().backward()
    assert all(p.grad is None for p in net.hwm.parameters())
    calibration.mean().backward()
    assert net.hwm.conv_blocks_context[0].blocks[0].conv.weight.grad.any()


def test_the_first_form_s_condition_network_learns_from_the_noise() -> None:
    net = network("v1")
    net(*example()).square().mean().backward()
    assert net.hwm.embed.weight.grad.any()
    assert net.hwm.ffparser[0].complex_weight.grad.any()


def test_a_filter_of_ones_passes_everything() -> None:
    filtering = FrequencyFilter(2, 8)
    x = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        filtering.complex_weight.zero_()
        filtering.complex_weight[..., 0] = 1
    torch.testing.assert_close(filtering(x), x, atol=1e-6, rtol=1e-5)
    with torch.no_grad():  # the mean alone
        filtering.complex_weight.zero_()
        filtering.complex_weight[:, 0, 0, 0] = 1
    mean = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(filtering(x), mean, atol=1e-6, rtol=1e-5)


def test_the_default_is_the_published_one() -> None:
    with torch.device("meta"):
        net: Any = build_network("medsegdiff")
        new: Any = build_network("medsegdiff", version="new")
    assert tuple(net.hwm.embed.weight.shape) == (512, 480, 1, 1)
    shapes = [tuple(f.complex_weight.shape) for f in net.hwm.ffparser]
    assert shapes == [
        (32, 128, 65, 2), (64, 64, 33, 2), (128, 32, 17, 2), (256, 16, 9, 2)
    ]  # fmt: skip
    assert new.hwm.embed is None
    assert len(new.hwm.ffparser) == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"version": "v3"}, "one of new, v1"),
        ({"dims": 3}, "MedSegDiff is for 2"),
        ({"multipliers": (1, 2)}, "four levels"),
        ({"image_size": 100}, "multiple of 8"),
    ],
)
def test_a_wrong_configuration_is_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network("medsegdiff", **SMALL | config)


def test_an_image_of_another_size_is_refused() -> None:
    net = network("v1")
    noisy, t, image = (x[..., :16, :16] if x.ndim > 1 else x for x in example())
    with pytest.raises(UserError, match=r"16 x 16.*32 x 32; resize"):
        net(noisy, t, image)
