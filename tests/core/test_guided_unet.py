"""The published network: its size, its names, and what its answer depends on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.conditioned import Conditioned
from diffseg.networks.guided_blocks import Attention, Downsample, Residual

SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (2,)}


def network(**config: object) -> nn.Module:
    """A small network whose layers that are born zero are not zero."""
    torch.manual_seed(0)
    net = build_network("guided_unet", **SMALL | config)
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def example(dims: int = 2, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    size = (8, 12, 16)[:dims]
    noisy, image = torch.randn(batch, 1, *size), torch.randn(batch, 4, *size)
    return noisy, torch.arange(batch) * 500, image


def published() -> nn.Module:
    with torch.device("meta"):  # sizes without numbers
        return build_network("guided_unet")


def test_ensemdiff_has_113_7_million_parameters() -> None:
    count = sum(parameter.numel() for parameter in published().parameters())
    assert count / 1e6 == pytest.approx(113.7, abs=0.1)


def test_parameters_bear_the_published_names() -> None:
    shapes = {name: tuple(p.shape) for name, p in published().named_parameters()}
    roots = {name.split(".")[0] for name in shapes}
    assert roots == {
        "time_embed", "input_blocks", "middle_block", "output_blocks", "out"
    }  # fmt: skip
    expected = {
        "time_embed.0.weight": (512, 128),
        "input_blocks.0.0.weight": (128, 5, 3, 3),
        "input_blocks.3.0.op.weight": (128, 128, 3, 3),
        "input_blocks.13.1.qkv.weight": (1536, 512, 1),
        "middle_block.1.proj_out.weight": (512, 512, 1),
        "output_blocks.0.0.in_layers.2.weight": (512, 1024, 3, 3),
        "output_blocks.0.0.skip_connection.weight": (512, 1024, 1, 1),
        "output_blocks.2.1.conv.weight": (512, 512, 3, 3),
        "output_blocks.3.0.emb_layers.1.weight": (512, 512),
        "output_blocks.5.2.conv.weight": (512, 512, 3, 3),
        "output_blocks.17.0.out_layers.3.weight": (128, 128, 3, 3),
        "out.2.weight": (2, 128, 3, 3),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    assert len(published().input_blocks) == len(published().output_blocks) == 18


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("config", "channels"),
    [
        ({}, 2),
        ({"learned_variance": False, "film": True}, 1),
        ({"conv_resampling": False, "heads": 4, "attention": (1, 2)}, 2),
    ],
)
def test_shapes(dims: int, config: dict[str, object], channels: int) -> None:
    net = network(dims=dims, **config)
    noisy, t, image = example(dims)
    assert net(noisy, t, image).shape == (2, channels, *noisy.shape[2:])
    assert net.multiple == 2


@pytest.mark.parametrize("film", [False, True])
def test_answer_depends_on_mask_noise_level_and_image(film: bool) -> None:
    net = network(film=film)
    noisy, t, image = example()
    answer = net(noisy, t, image)
    for other in (
        net(noisy + 1, t, image),
        net(noisy, t + 300, image),
        net(noisy, t, image * 2),
    ):
        assert (answer - other).abs().max() > 1e-3


def test_a_batch_is_its_members_one_by_one() -> None:
    net = network()
    noisy, t, image = example(batch=3)
    together = net(noisy, t, image)
    alone = [net(noisy[i : i + 1], t[i : i + 1], image[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_blocks_begin_as_their_skip_and_the_network_at_zero() -> None:
    x, embedding = torch.randn(1, 32, 4, 4), torch.randn(1, 8)
    block = Residual(2, 32, 32, 8, film=True, dropout=0.0)
    torch.testing.assert_close(block(x, embedding), x)
    torch.testing.assert_close(Attention(32, heads=2)(x), x)
    assert not build_network("guided_unet", **SMALL)(*example()).any()


def test_attention_is_the_textbook_s() -> None:
    torch.manual_seed(2)
    attention = Attention(32, heads=2)
    nn.init.normal_(attention.proj_out.weight)
    x = torch.randn(1, 32, 3, 5)
    qkv = attention.qkv(attention.norm(x.flatten(2)))[0]
    heads = []
    for head in qkv.split(48):  # the published order: each head's q, k and v
        q, k, v = head.split(16)
        weight = (q.T @ k / 16**0.5).softmax(dim=1)
        heads.append(v @ weight.T)
    expected = x + attention.proj_out(torch.cat(heads)[None]).view_as(x)
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-4)


def test_averaging_downsamples_by_the_mean() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    halved = Downsample(2, 1, learned=False)(x)
    torch.testing.assert_close(halved[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": 48}, "multiple of 32"),
        ({"dims": 4}, "2 or 3"),
        ({"widths": (1, 2)}, "widths"),
    ],
)
def test_a_wrong_configuration_is_told(config: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network("guided_unet", **config)


@pytest.mark.parametrize("config", [{}, {"residual_resampling": True, "film": True}])
def test_it_is_conditioned_on_the_image_itself(config: dict[str, object]) -> None:
    net = network(**config)
    noisy, t, image = example()
    assert isinstance(net, Conditioned)
    assert net.encode(image) is image
    assert (net.mask_channels, net.learned_variance) == (1, True)
    answer = net.denoise(noisy, t, image)
    torch.testing.assert_close(answer, net(noisy, t, image))
    assert answer.shape == (2, 2, *noisy.shape[2:])
