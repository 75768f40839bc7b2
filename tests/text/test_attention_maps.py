"""Attention read from a U-Net, against the U-Net's own slow way of computing it."""

from __future__ import annotations

import pytest
import torch
from beside import beside
from diffusers.models.attention_processor import AttnProcessor

from diffseg.errors import UserError
from diffseg.networks.attention_maps import (
    attention_layers,
    find_layers,
    fine_layer,
    read_attention,
    semantic_layer,
)

tiny = beside(__file__, "tiny_diffusion")

KINDS = {
    "stable diffusion 1": {},
    "stable diffusion 2": {
        "use_linear_projection": True,
        "upcast_attention": True,
        "attention_head_dim": (3, 4, 6, 6),
    },
    "stable diffusion xl": {
        "use_linear_projection": True,
        "block_out_channels": (12, 24, 24),
        "down_block_types": (
            "DownBlock2D",
            "CrossAttnDownBlock2D",
            "CrossAttnDownBlock2D",
        ),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
    },
}


@pytest.fixture(scope="module", params=list(KINDS))
def unet(request):
    return tiny.tiny_unet(**KINDS[request.param])


def seen(batch=2, rows=16, columns=24, seed=0):
    """Latents, timesteps and a text that a tiny U-Net is shown."""
    draw = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, 4, rows, columns, generator=draw)
    text = torch.randn(batch, 5, tiny.WIDTH, generator=draw)
    return latents, torch.full((batch,), 81), text


class Slow(AttnProcessor):
    """What diffusers computes without a fused kernel, kept."""

    def __init__(self):
        self.probabilities = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **rest):
        original = attn.get_attention_scores

        def kept(query, key, mask=None):
            self.probabilities = original(query, key, mask)
            return self.probabilities

        attn.get_attention_scores = kept
        try:
            return super().__call__(attn, hidden_states, encoder_hidden_states, **rest)
        finally:
            del attn.get_attention_scores


def slow_probabilities(unet, layer, shown):
    """Probabilities (B, H, N, M) of one layer, from a processor put in its place."""
    module = unet.get_submodule(layer.name)
    before = module.processor
    module.processor = slow = Slow()
    try:
        unet(*shown)
    finally:
        module.processor = before
    return slow.probabilities.unflatten(0, (-1, layer.heads))


@pytest.mark.parametrize("cross", [False, True])
def test_every_layer_reads_as_the_unet_computes_it(unet, cross):
    shown = seen()
    layers = attention_layers(unet, cross=cross)
    assert layers
    for layer in layers:
        (read,) = read_attention(unet, *shown, [layer])
        expected = slow_probabilities(unet, layer, shown)
        torch.testing.assert_close(read.probabilities(), expected)
        rows, columns = read.grid
        assert (rows, columns) == (16 // layer.factor, 24 // layer.factor)
        assert read.query.shape[1:3] == (layer.heads, rows * columns)


def test_probabilities_sum_to_one_and_scores_are_plain(unet):
    (read,) = read_attention(unet, *seen(), [semantic_layer(unet)])
    total = read.probabilities().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    one = (read.query[0, 1, 2] * read.key[0, 1, 3]).sum()
    torch.testing.assert_close(read.scores()[0, 1, 2, 3], one)
    assert read.scale == pytest.approx(read.query.shape[-1] ** -0.5)


def test_layers_are_chosen_by_resolution():
    unet = tiny.tiny_unet()
    name = "up_blocks.{}.transformer_blocks.0.attn1"
    assert semantic_layer(unet).name == name.format("1.attentions.2")
    assert semantic_layer(unet).factor == 4
    assert fine_layer(unet).name == name.format("3.attentions.1")
    assert fine_layer(unet).factor == 1
    other = tiny.tiny_unet(**KINDS["stable diffusion xl"])
    assert semantic_layer(other).name == (
        "up_blocks.0.attentions.2.transformer_blocks.1.attn1"
    )
    assert (semantic_layer(other).factor, fine_layer(other).factor) == (4, 2)


def test_layers_are_found_by_name_or_its_beginning(unet):
    layer = semantic_layer(unet)
    outer = layer.name.split(".transformer")[0]
    assert find_layers(unet, [outer, layer.name]) == [layer, layer]
    text = attention_layers(unet, cross=True)[0]
    assert find_layers(unet, [text.name]) == [text]
    with pytest.raises(UserError, match="did you mean") as told:
        find_layers(unet, [f"{layer.name}x"])
    assert layer.name in str(told.value)


def test_a_unet_without_attention_in_its_decoder_is_refused():
    unet = tiny.tiny_unet(up_block_types=("UpBlock2D",) * 4)
    with pytest.raises(UserError, match="decoder"):
        semantic_layer(unet)


def test_it_stops_after_the_last_layer_and_not_before(unet):
    layers = attention_layers(unet)
    ran = []
    hooks = [
        unet.get_submodule(layer.name).register_forward_hook(
            lambda *_, name=layer.name: ran.append(name)
        )
        for layer in layers
    ]
    wanted = [layers[2], layers[0]]  # the order that is asked for is not that of use
    try:
        read = read_attention(unet, *seen(), wanted)
    finally:
        for hook in hooks:
            hook.remove()
    assert [one.layer for one in read] == wanted
    assert ran == [layer.name for layer in layers[:2]]


def test_the_unet_is_left_as_it_was_even_after_an_error(unet):
    shown = seen()
    before = unet(*shown).sample
    processors = {name: id(one) for name, one in unet.attn_processors.items()}
    layers = [semantic_layer(unet)]
    read_attention(unet, *shown, layers)
    with pytest.raises(RuntimeError):  # a text of another width
        read_attention(unet, shown[0], shown[1], shown[2][..., :3], layers)
    assert {name: id(one) for name, one in unet.attn_processors.items()} == processors
    assert not any(module._forward_pre_hooks for module in unet.modules())
    assert torch.equal(unet(*shown).sample, before)


def test_images_of_a_batch_do_not_meet(unet):
    latents, t, text = seen()
    layers = [semantic_layer(unet), fine_layer(unet)]
    together = read_attention(unet, latents, t, text, layers)
    alone = read_attention(unet, latents[1:], t[1:], text[1:], layers)
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both.query[1:], one.query)
        torch.testing.assert_close(both.key[1:], one.key)


def test_queries_and_keys_move_to_another_grid(unet):
    (read,) = read_attention(unet, *seen(), [semantic_layer(unet)])
    rows, columns = read.grid
    moved = read.resized((5, 7))
    assert moved.probabilities().shape == (2, read.layer.heads, 35, 35)
    assert moved.grid == (5, 7)
    assert read.resized(read.grid) is read
    # Twice the grid: the corner is the corner, and the first step a quarter inwards.
    twice = read.resized((2 * rows, 2 * columns)).query
    torch.testing.assert_close(twice[:, :, 0], read.query[:, :, 0])
    mixed = 0.75 * read.query[:, :, 0] + 0.25 * read.query[:, :, 1]
    torch.testing.assert_close(twice[:, :, 1], mixed)
    (text,) = read_attention(unet, *seen(), attention_layers(unet, cross=True)[:1])
    assert text.resized((3, 3)).probabilities().shape[2:] == (9, 5)


def test_half_weights_give_products_in_float32():
    unet = tiny.tiny_unet().to(torch.bfloat16)
    (read,) = read_attention(unet, *seen(), [semantic_layer(unet)])
    assert read.query.dtype == torch.bfloat16
    assert read.probabilities().dtype == torch.float32
