"""Correlation of patches as a text-to-image model sees them (VCE)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from beside import beside
from torch.nn import functional

from diffseg.diffusion.attention_clustering import (
    Refinement,
    attention_clustering_refinement,
)
from diffseg.errors import UserError
from diffseg.models.text_diffusion import load_text_diffusion
from diffseg.networks.attention_maps import AttentionLayer, AttentionRead
from diffseg.segmenters.text.enhancement import (
    Enhancement,
    draw_noise,
    enhance,
    product_map,
    seen_size,
    softmax_map,
)

tiny = beside(__file__, "tiny_diffusion")

GRID = (4, 6)
LAYER = "up_blocks.1.attentions.2"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny.save_tiny_diffusion(tmp_path_factory.mktemp("tiny"))
    return load_text_diffusion(f"file:{folder}")


@pytest.fixture(scope="module")
def image():
    draw = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 64, 96, generator=draw)


@pytest.fixture(scope="module")
def noise(model):
    return draw_noise(model, (64, 96), seed=0)


def read_of(query, key, heads):
    layer = AttentionLayer("layer", "up", 1, heads, False)
    return AttentionRead(layer, query, key, (2, query.shape[2] // 2), 0.5)


def test_the_papers_map_by_hand(model, image, noise):
    """Encode, add noise, run the whole U-Net, and take one layer's softmax."""
    t = torch.full((2,), 81)
    latents = model.vae.encode(image * 2 - 1).latent_dist.mean * 0.18215
    bar = model.schedule.alpha_bar[81].float()
    noisy = bar.sqrt() * latents + (1 - bar).sqrt() * noise
    kept = {}
    module = model.unet.get_submodule(f"{LAYER}.transformer_blocks.0.attn1")
    hook = module.register_forward_hook(
        lambda module, args, _: kept.update(x=args[0]), with_kwargs=False
    )
    try:
        model.unet(noisy, t, model.embed([""]).expand(2, -1, -1))
    finally:
        hook.remove()
    parts = []
    for project in (module.to_q, module.to_k):
        field = project(kept["x"]).transpose(1, 2).unflatten(2, (2, 3))
        wide = functional.interpolate(field, GRID, mode="bilinear")
        parts.append(wide.flatten(2).unflatten(1, (3, -1)).transpose(2, 3))
    query, key = parts
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    expected = scores.softmax(-1).mean(1)
    seen = enhance(model, image, GRID, noise)
    torch.testing.assert_close(seen.attention, expected, atol=1e-5, rtol=1e-4)
    refined = attention_clustering_refinement(expected, GRID, Refinement())
    torch.testing.assert_close(seen.refined, refined, atol=1e-5, rtol=1e-4)
    assert seen.fine is None


def test_rows_sum_to_one(model, image, noise):
    seen = enhance(model, image, GRID, noise)
    for attention in (seen.attention, seen.refined):
        assert attention.shape == (2, 24, 24)
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 24))


def test_the_released_product_by_hand():
    draw = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 2, 3, 6, 4, generator=draw)
    read = read_of(query, key, heads=3)
    for i in range(2):
        heads = []
        for head in (1, 2):
            scores = query[i, head] @ key[i, head].T
            share = torch.zeros(6, 6)
            for row in range(6):
                for column in range(6):
                    largest = max(float(scores[r, column]) for r in range(6))
                    part = float(scores[row, column]) / largest if largest > 0 else 0
                    share[row, column] = part if part >= 0.2 else 0
            for row in range(6):
                total = float(share[row].sum())
                share[row] = share[row] / total if total else share[row]
            heads.append(share)
        torch.testing.assert_close(product_map(read)[i], heads[0] @ heads[1])


def test_the_two_variants_differ_where_they_should():
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(1, 3, 6, 4, generator=draw)
    read = read_of(query, query, heads=3)
    stronger = read_of(3 * query, query, heads=3)
    # The softmax knows how large products are; the released product does not.
    assert not torch.allclose(softmax_map(read), softmax_map(stronger), atol=1e-3)
    torch.testing.assert_close(product_map(read), product_map(stronger))
    first = torch.cat([torch.randn(1, 1, 6, 4, generator=draw), query[:, 1:]], 1)
    other = read_of(first, query, heads=3)
    # Nor does it know head 0.
    torch.testing.assert_close(product_map(read), product_map(other))
    assert not torch.allclose(softmax_map(read), softmax_map(other), atol=1e-3)


def test_a_layer_of_few_heads_has_no_released_product():
    query = torch.randn(1, 2, 6, 4)
    with pytest.raises(UserError, match="which has 2"):
        product_map(read_of(query, query, heads=2))


def test_the_released_settings_run(model, noise):
    image = torch.rand(1, 1, 64, 64)
    how = replace(Enhancement.as_released(), size=(64, 96))
    seen = enhance(model, image, (6, 6), noise, how)
    assert seen.refined.shape == (1, 36, 36)
    assert seen.fine_grid == (8, 12)
    assert torch.isfinite(seen.refined).all()
    assert Enhancement.as_released().size == (320, 320)


def test_images_of_a_batch_do_not_meet(model, image, noise):
    how = Enhancement(fine=True)
    together = enhance(model, image, GRID, noise, how)
    alone = enhance(model, image[1:], GRID, noise, how)
    torch.testing.assert_close(together.attention[1:], alone.attention)
    torch.testing.assert_close(together.refined[1:], alone.refined)
    torch.testing.assert_close(together.fine[1:], alone.fine)


def test_levels_and_draws_are_averaged(model, image):
    noise = draw_noise(model, (64, 96), seed=0, draws=2)
    how = Enhancement(timesteps=(41, 201))
    whole = enhance(model, image, GRID, noise, how).attention
    parts = [
        enhance(model, image, GRID, one[None], Enhancement(timesteps=(t,))).attention
        for t in (41, 201)
        for one in noise
    ]
    torch.testing.assert_close(whole, torch.stack(parts).mean(0))
    assert not torch.allclose(parts[0], parts[1], rtol=1e-4, atol=0)
    assert not torch.allclose(parts[0], parts[2], rtol=1e-4, atol=0)


def test_the_noise_follows_from_its_seed(model):
    first = draw_noise(model, (64, 96), seed=3, draws=2)
    assert first.shape == (2, 4, 8, 12)
    assert torch.equal(first, draw_noise(model, (64, 96), seed=3, draws=2))
    assert torch.equal(first[:1], draw_noise(model, (64, 96), seed=3))
    assert not torch.equal(first, draw_noise(model, (64, 96), seed=4, draws=2))


def test_layers_are_averaged_and_the_finest_is_read(model, image, noise):
    names = (LAYER, "up_blocks.2.attentions.0")
    both = enhance(model, image, GRID, noise, Enhancement(layers=names)).attention
    each = [
        enhance(model, image, GRID, noise, Enhancement(layers=(name,))).attention
        for name in names
    ]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)
    default = enhance(model, image, GRID, noise).attention
    torch.testing.assert_close(default, each[0])
    fine = enhance(model, image, GRID, noise, Enhancement(fine=True))
    assert fine.fine.shape == (2, 96, 96)
    assert fine.fine_grid == (8, 12)
    torch.testing.assert_close(fine.fine.sum(-1), torch.ones(2, 96))
    torch.testing.assert_close(fine.attention, default)
    heads = Enhancement(fine=True, fine_heads=(1, 2))
    some = enhance(model, image, GRID, noise, heads).fine
    assert not torch.allclose(some, fine.fine, rtol=1e-4, atol=0)


def test_a_text_may_be_given(model, image, noise):
    null = enhance(model, image, GRID, noise).attention
    same = enhance(model, image, GRID, noise, context=model.embed([""])).attention
    torch.testing.assert_close(same, null)
    text = enhance(model, image, GRID, noise, context=model.embed(["cat"])).attention
    assert not torch.allclose(text, null, rtol=1e-5, atol=0)


def test_an_image_is_enlarged_to_what_fits(model):
    image = torch.rand(1, 1, 30, 65)
    assert seen_size(model, image, Enhancement()) == (32, 72)
    assert seen_size(model, image, Enhancement(size=(40, 40))) == (40, 40)
    noise = draw_noise(model, (32, 72), seed=0)
    assert enhance(model, image, GRID, noise).attention.shape == (1, 24, 24)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (Enhancement(timesteps=(1000,)), "timesteps"),
        (Enhancement(timesteps=()), "timesteps"),
        (Enhancement(size=(64, 97)), "multiples of 8"),
        (Enhancement(size=(64, 64)), "noise is"),
        (Enhancement(layers=("up_blocks.9",)), "no attention"),
        (Enhancement(fine=True, fine_heads=(3,)), "heads"),
        (
            Enhancement(layers=(f"{LAYER}.transformer_blocks.0.attn2",)),
            "attends to the text",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model, image, noise, how, told):
    with pytest.raises(UserError, match=told) as error:
        enhance(model, image, GRID, noise, how)
    assert "\n" not in str(error.value)


def test_another_models_prediction_changes_nothing(tmp_path, model, image, noise):
    folder = tiny.save_tiny_diffusion(tmp_path, prediction="v_prediction")
    other = load_text_diffusion(f"file:{folder}")
    assert other.prediction == "v"
    first = enhance(model, image, GRID, noise).attention
    torch.testing.assert_close(enhance(other, image, GRID, noise).attention, first)
