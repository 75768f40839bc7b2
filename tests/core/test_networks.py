"""The compact network: shapes, towers, and what feeds what."""

import pytest
import torch
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.compact_unet import InstanceNorm, noise_embedding

SMALL = {"channels": (8, 12, 16), "member_channels": (4, 6, 8), "embedding": 16}


def network(dims, seed=0, **config):
    torch.manual_seed(seed)
    net = build_network(
        "compact_unet", dims=dims, image_channels=2, classes=3, **SMALL | config
    )
    for parameter in net.correct.parameters():  # born zero: make members matter
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval()


@pytest.mark.parametrize("dims", [2, 3])
def test_called_with_noisy_timesteps_and_image(dims):
    net = network(dims)
    size = (8, 12, 16)[:dims]
    answer = net(
        torch.randn(2, 3, *size), torch.tensor([0, 999]), torch.randn(2, 2, *size)
    )
    assert answer.shape == (2, 3, *size)
    assert net.multiple == 4


def test_members_start_as_the_image_towers_answer():
    net = build_network("compact_unet", dims=3, classes=3, **SMALL)
    image, noisy = torch.randn(1, 1, 8, 8, 8), torch.randn(1, 3, 8, 8, 8)
    t = torch.tensor([500])
    torch.testing.assert_close(net(noisy, t, image), net.encode(image).logits[0])


def test_answer_depends_on_noisy_mask_noise_level_and_image():
    net = network(3)
    image, noisy = torch.randn(1, 2, 8, 8, 8), torch.randn(1, 3, 8, 8, 8)
    t = torch.tensor([500])
    answer = net(noisy, t, image)
    for other in (
        net(torch.randn_like(noisy), t, image),
        net(noisy, torch.tensor([900]), image),
        net(noisy, t, torch.randn_like(image)),
    ):
        assert (answer - other).abs().max() > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_is_its_members_one_by_one(dims):
    net = network(dims)
    size = (8, 8, 12)[:dims]
    image = torch.randn(1, 2, *size)
    noisy, t = torch.randn(3, 3, *size), torch.tensor([999, 500, 10])
    features = net.encode(image)
    together = net.denoise(noisy, t, features)
    alone = [net.denoise(noisy[i : i + 1], t[i : i + 1], features) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    expanded = net.denoise(noisy, t, features.expanded(3))
    torch.testing.assert_close(together, expanded)


def test_instance_norm_is_torchs_instance_norm():
    x = torch.randn(3, 5, 4, 6, 7)
    norm = InstanceNorm(5)
    torch.nn.init.normal_(norm.weight)
    expected = functional.instance_norm(x, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)


def test_noise_levels_are_told_apart():
    embedding = noise_embedding(torch.arange(0, 1000, 37), 32)
    distance = torch.cdist(embedding, embedding)
    distance.fill_diagonal_(9)
    assert distance.min() > 0.1


def test_unknown_network_and_wrong_configuration_are_the_users():
    with pytest.raises(UserError, match="not one of"):
        build_network("unet_of_dreams")
    with pytest.raises(UserError, match="colour"):
        build_network("compact_unet", colour="red")
    with pytest.raises(UserError, match="differ in length"):
        build_network("compact_unet", channels=(8, 8), member_channels=(4,))
