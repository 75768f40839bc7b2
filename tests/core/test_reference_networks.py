"""U-Net and SegFormer: what they answer depends on the image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.conditioned import Conditioned

pytestmark = pytest.mark.slow  # importing MONAI and transformers alone takes long

SMALL = {
    "unet": {"channels": 4, "multipliers": (1, 2, 2)},
    "segformer": {"size": "small"},
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(name: str, **config: object) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"image_channels": 3, "mask_channels": 2, **SMALL[name], **config}
    return build_network(name, **options).eval()


@pytest.mark.parametrize("name", ["unet", "segformer"])
def test_only_the_image_is_looked_at(name):
    net = built(name)
    assert isinstance(net, Conditioned)
    assert (net.mask_channels, net.learned_variance) == (2, False)
    image, noisy = random(2, 3, 64, 32), random(2, 2, 64, 32, seed=1)
    t = torch.tensor([999, 999])
    with torch.no_grad():
        logits = net(noisy, t, image)
        assert logits.shape == noisy.shape
        assert torch.equal(net(noisy + 1, t - 500, image), logits)
        assert torch.equal(net.denoise(noisy, t, net.encode(image)), logits)
        assert not torch.allclose(net(noisy, t, image.flip(2)), logits)
        # A batch is its images one by one.
        one = net(noisy[:1], t[:1], image[:1])
    np.testing.assert_allclose(one, logits[:1], atol=1e-4)


def test_the_unet_runs_over_volumes():
    net = built("unet", dims=3, image_channels=1)
    assert net.multiple == 4
    noisy = random(1, 2, 8, 16, 8)
    assert net(noisy, torch.tensor([0]), random(1, 1, 8, 16, 8)).shape == noisy.shape


@pytest.mark.parametrize("name", ["unet", "segformer"])
def test_every_weight_is_trained(name):
    net = built(name).train()
    noisy, image = random(2, 2, 64, 64), random(2, 3, 64, 64)
    net(noisy, torch.tensor([9, 9]), image).sum().backward()
    still = [key for key, one in net.named_parameters() if one.grad is None]
    assert not still


def test_segformer_is_that_of_transformers_interpolated():
    net = built("segformer")
    image = random(1, 3, 64, 64)
    with torch.no_grad():
        coarse = net.net(pixel_values=image).logits
        answer = net(random(1, 2, 64, 64), torch.tensor([0]), image)
    assert coarse.shape == (1, 2, 16, 16)
    wanted = functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    np.testing.assert_allclose(answer, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "millions"), [("b0", 3.8), ("b1", 13.7), ("b2", 27.5), ("b3", 47.3)]
)
def test_published_sizes(size, millions):
    # Table 1 of Xie et al. 2021 counts with the 150 classes of ADE20K.
    with torch.device("meta"):
        net = build_network("segformer", mask_channels=150, size=size)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.11)


def test_small_models_are_small():
    for name, config in (
        ("unet", {"channels": 32, "multipliers": (1, 2, 4, 6)}),
        ("segformer", {"size": "small"}),
    ):
        with torch.device("meta"):
            net = build_network(name, image_channels=3, **config)
        count = sum(parameter.numel() for parameter in net.parameters())
        assert 4 * count <= 10 * 2**20


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("unet", {"dims": 4}, "dims is 4; give 2 or 3"),
        ("unet", {"multipliers": (1,)}, "two levels or more"),
        ("unet", {"chanels": 4}, "chanels"),
        ("segformer", {"dims": 3}, "give 2"),
        ("segformer", {"size": "b9"}, "one of small, b0"),
    ],
)
def test_a_wrong_configuration_is_told(name, config, message):
    with pytest.raises(UserError, match=message):
        build_network(name, **config)
