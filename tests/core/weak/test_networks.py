"""The class-conditional denoiser, the noisy classifier and the pixel decoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.guided_blocks import Attention
from diffseg.networks.noisy_classifier import NoisyClassifier, log_probability
from diffseg.networks.pixel_decoder import PixelDecoder

SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (2,)}


def awake(net: nn.Module) -> nn.Module:
    """The network in evaluation, what is born zero no longer zero."""
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def unet(**config: object) -> ClassUNet:
    torch.manual_seed(0)
    net = awake(ClassUNet(image_channels=2, classes=2, heads=2, **SMALL | config))
    assert isinstance(net, ClassUNet)
    return net


def classifier(**config: object) -> NoisyClassifier:
    torch.manual_seed(0)
    net = awake(
        NoisyClassifier(
            image_channels=2,
            classes=2,
            size=16,
            **SMALL | {"head_channels": 16} | config,
        )
    )
    assert isinstance(net, NoisyClassifier)
    return net


def noisy(batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, 2, 16, 16), torch.arange(batch) * 300


def test_the_defaults_are_hus_network() -> None:
    with torch.device("meta"):
        net = build_network("class_unet")
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes["input_blocks.0.0.weight"] == (128, 4, 3, 3)
    assert shapes["label_emb.weight"] == (3, 512)
    assert len(net.output_blocks) == 24
    # As many channels as the public code's decoder has at these blocks.
    assert net.feature_widths((7, 8, 10, 11, 16)) == (512, 256, 256, 256, 128)


def test_each_block_of_two_a_level_is_as_wide_as_published() -> None:
    with torch.device("meta"):
        net = build_network("class_unet", blocks=2)
    assert sum(net.feature_widths((5, 6, 7, 8, 12))) == 1408


def test_every_state_of_every_class_is_told() -> None:
    net, (x, t) = unet(), noisy(1)
    states = [[a, b] for a in range(3) for b in range(3)]
    answers = [net(x, t, torch.tensor([one])) for one in states]
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            assert not torch.equal(one, other)


def test_a_blend_of_conditions_leaves_the_table_as_it_is() -> None:
    net = unet()
    before = net.label_emb.weight.detach().clone()
    present = net.condition(torch.tensor([[PRESENT, ABSENT]]))
    with torch.no_grad():
        present *= 0.5
    torch.testing.assert_close(net.label_emb.weight.detach(), before)


def test_feature_maps_are_the_blocks_outputs_in_the_order_asked_for() -> None:
    net, (x, t) = unet(), noisy()
    condition = net.condition(torch.tensor([[1, 0], [2, 1]]))
    seen: dict[int, Tensor] = {}
    for index, block in enumerate(net.output_blocks):
        block.register_forward_hook(
            lambda _, __, out, index=index: seen.__setitem__(index, out.clone())
        )
    net.denoise(x, t, condition)
    whole = dict(seen)
    maps = net.feature_maps(x, t, condition, (2, 0))
    for block, found in zip((2, 0), maps, strict=True):
        torch.testing.assert_close(found, whole[block])
    assert tuple(one.shape[1] for one in maps) == net.feature_widths((2, 0))


def test_nothing_after_the_last_wanted_block_is_computed() -> None:
    net, (x, t) = unet(), noisy()
    net.output_blocks[2].register_forward_hook(lambda *_: pytest.fail("computed"))
    net.feature_maps(x, t, net.condition(torch.zeros(2, 2, dtype=torch.long)), (0, 1))


@pytest.mark.parametrize("blocks", [(), (0, 0), (4,), (-1,)])
def test_blocks_that_are_not_there_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="blocks are"):
        unet().feature_widths(blocks)


def test_the_classifier_bears_the_published_names() -> None:
    with torch.device("meta"):
        net = build_network("noisy_classifier")
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes["out.2.positional_embedding"] == (512, 65)
    assert shapes["out.2.qkv_proj.weight"] == (1536, 512, 1)
    assert shapes["out.2.c_proj.weight"] == (2, 512, 1)
    assert shapes["middle_block.1.qkv.weight"] == (1536, 512, 1)
    assert {name.split(".")[0] for name in shapes} == {
        "time_embed", "input_blocks", "middle_block", "out"
    }  # fmt: skip
    for module in net.modules():
        if isinstance(module, Attention):
            assert module.norm.num_channels == 64 * module.heads
    assert net.out[2].heads == 8


def test_attention_pooling_is_attention_of_the_mean() -> None:
    """Against the published order of operations, written out for one head."""
    net = classifier(head_channels=None, heads=1)
    pool, width = net.out[2], 64
    x = torch.randn(1, width, 8, 8)
    flat = x.flatten(2)[0]
    flat = torch.cat([flat.mean(1, keepdim=True), flat], 1) + pool.positional_embedding
    q, k, v = pool.qkv_proj(flat[None])[0].chunk(3)
    weights = torch.softmax(q.T @ k / width**0.5, dim=-1)
    wanted = pool.c_proj((weights @ v.T).T[None])[0, :, 0]
    torch.testing.assert_close(pool(x)[0], wanted)


def test_the_classifier_takes_images_of_other_sizes() -> None:
    net, t = classifier(), torch.tensor([10])
    assert net(torch.randn(1, 2, 24, 32), t).shape == (1, 2, 2)


def test_the_classifier_hears_the_noise_level() -> None:
    net, (x, _) = classifier(), noisy(1)
    assert not torch.equal(net(x, torch.tensor([0])), net(x, torch.tensor([900])))


def test_the_log_probability_is_of_what_is_known() -> None:
    logits = torch.tensor([[[0.2, 1.0], [3.0, -1.0]]])
    pairs = logits.softmax(2)[0]
    for states, wanted in (
        ([PRESENT, ABSENT], pairs[0, 1] * pairs[1, 0]),
        ([ABSENT, UNKNOWN], pairs[0, 0]),
        ([UNKNOWN, UNKNOWN], torch.tensor(1.0)),
    ):
        found = log_probability(logits, torch.tensor([states]))
        torch.testing.assert_close(found.exp()[0], wanted)


def decoder(inputs: tuple[int, ...] = (6, 3)) -> PixelDecoder:
    torch.manual_seed(0)
    net = PixelDecoder(inputs, width=5)
    net.mean.copy_(torch.randn(sum(inputs)))
    net.deviation.copy_(torch.rand(sum(inputs)) + 0.5)
    return net.eval()


def test_the_decoder_has_four_layers_and_ends_on_a_sphere() -> None:
    net = PixelDecoder((1408,))
    assert [tuple(layer.weight.shape) for layer in net.layers] == [
        (16, 1408), (16, 16), (16, 16), (16, 16)
    ]  # fmt: skip
    embedded = decoder()(torch.randn(7, 9))
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(7))


def test_the_decoder_is_relu_between_layers_and_none_after() -> None:
    net, x = decoder(), torch.randn(3, 9)
    hidden = (x - net.mean) / net.deviation
    for index, layer in enumerate(net.layers):
        hidden = layer(hidden)
        if index < 3:
            hidden = hidden.clamp(min=0)
    torch.testing.assert_close(net(x), hidden / hidden.norm(dim=1, keepdim=True))


def test_maps_are_decoded_as_if_they_were_joined_at_full_size() -> None:
    net, size = decoder(), (12, 10)
    maps = [torch.randn(2, 6, 3, 5), torch.randn(2, 3, 12, 10)]
    whole = torch.cat(
        [functional.interpolate(m, size, mode="bilinear") for m in maps], dim=1
    )
    wanted = net(whole.movedim(1, -1).reshape(-1, 9)).view(2, 12, 10, 5).movedim(-1, 1)
    torch.testing.assert_close(net.from_maps(maps, size), wanted)


def test_a_configuration_that_cannot_be_is_told() -> None:
    with pytest.raises(UserError, match="head_channels is 48"):
        build_network("noisy_classifier", channels=32, head_channels=48)
    with pytest.raises(UserError, match="size is 20"):
        build_network("noisy_classifier", channels=64, size=20)
    with pytest.raises(UserError, match="classes is 0"):
        build_network("class_unet", classes=0)
