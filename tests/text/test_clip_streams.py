"""CLIP's patches with a map in its last layers: its own path stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from beside import beside
from torch import Tensor
from torch.nn import functional

from diffseg.domain.fusion import Fusion
from diffseg.errors import UserError
from diffseg.networks.clip_streams import ClipStreams, clip_streams, fused
from diffseg.networks.clip_towers import resized_positions

tiny = beside(__file__, "tiny_clip")


def images(height: int = 32, width: int = 32, count: int = 2) -> Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, height, width, generator=source)


def affinity(patches: int, count: int = 2) -> Tensor:
    source = torch.Generator().manual_seed(4)
    return torch.rand(count, patches, patches, generator=source).softmax(-1)


@pytest.fixture(params=["open_clip", "timm", "timm registers"])
def visual(request: pytest.FixtureRequest) -> Any:
    if request.param == "open_clip":
        return tiny.clip_model().visual
    if request.param == "timm":
        return tiny.timm_tower()
    return tiny.timm_tower(reg_tokens=2, no_embed_class=True, init_values=0.3)


@torch.no_grad()
def test_without_a_map_it_is_open_clip_bit_for_bit(visual: Any) -> None:
    image = images()
    seen = clip_streams(visual, image, raw=True)
    assert torch.equal(seen.class_token, visual(image))
    theirs = visual.forward_intermediates(image, output_fmt="NLC")
    assert len(seen.raw) == len(theirs["image_intermediates"])
    for ours, one in zip(seen.raw, theirs["image_intermediates"], strict=True):
        assert torch.equal(ours, one)
    assert seen.patches.shape == (2, 16, 12)
    assert seen.grid == (4, 4)


@torch.no_grad()
def test_patches_are_those_after_the_last_norm_projected() -> None:
    model = tiny.clip_model()
    model.visual.output_tokens = True
    _, tokens = model.visual(images())
    model.visual.output_tokens = False
    seen = clip_streams(model.visual, images())
    assert torch.equal(seen.patches, tokens @ model.visual.proj)
    assert torch.equal(seen.class_token, model.encode_image(images()))
    tower = tiny.timm_tower()
    tokens = tower.trunk.forward_features(images())[:, 1:]
    assert torch.equal(clip_streams(tower, images()).patches, tower.head(tokens))


@torch.no_grad()
def test_added_with_no_weight_it_is_plain(visual: Any) -> None:
    plain = clip_streams(visual, images())
    none = clip_streams(visual, images(), attention=affinity(16), weight=0)
    assert torch.equal(none.patches, plain.patches)
    # Slowly, block by block, the same comes out but for the last bits.
    almost = clip_streams(visual, images(), attention=affinity(16), weight=1e-30)
    torch.testing.assert_close(almost.patches, plain.patches, atol=1e-5, rtol=1e-5)
    clip = clip_streams(visual, images(), attention=affinity(16), fusion=Fusion.CLIP)
    assert torch.equal(clip.patches, plain.patches)


@torch.no_grad()
@pytest.mark.parametrize("streams", ["recursive", "surgery"])
@pytest.mark.parametrize("fusion", list(Fusion))
def test_the_original_stream_never_changes(
    visual: Any, streams: Any, fusion: Fusion
) -> None:
    asked = {"raw": True, "attended": 2}
    plain = clip_streams(visual, images(), **asked)
    other = clip_streams(
        visual,
        images(),
        attention=affinity(16),
        weight=2,
        fusion=fusion,
        streams=streams,
        **asked,
    )
    assert torch.equal(other.class_token, plain.class_token)
    for ours, one in zip(
        other.raw + other.attention, plain.raw + plain.attention, strict=True
    ):
        assert torch.equal(ours, one)
    changed = streams == "surgery" or fusion is not Fusion.CLIP
    assert torch.equal(other.patches, plain.patches) != changed
    assert other.patches.isfinite().all()


def slow(
    model: Any, image: Tensor, added: Tensor, layers: int, surgery: bool
) -> Tensor:
    """Enhanced patches, head by head and written out; open_clip's tower."""
    net = model.visual
    x = net._embeds(image)
    blocks, first = net.transformer.resblocks, len(net.transformer.resblocks) - layers
    new = x
    for index, block in enumerate(blocks):
        if index < first:
            x = block(x)
            new = x
            continue
        source = block.ln_1(x if surgery else new)
        heads, depth = block.attn.num_heads, source.shape[-1] // block.attn.num_heads
        w, b = block.attn.in_proj_weight, block.attn.in_proj_bias
        q, k, v = functional.linear(source, w, b).chunk(3, -1)
        parts, shared = [], torch.zeros(())
        for head in range(heads):
            place = slice(head * depth, (head + 1) * depth)
            qh, kh = q[..., place], k[..., place]

            def soft(one: Tensor, other: Tensor, depth: int = depth) -> Tensor:
                return (one @ other.mT / depth**0.5).softmax(-1)

            own = soft(qh, qh) + 2 * soft(kh, kh) if surgery else soft(qh, kh)
            own[:, 1:, 1:] += added
            shared = shared + own
            parts.append(own @ v[..., place])
        if surgery:
            joined = shared @ v
            new = new + block.attn.out_proj(joined)
        else:
            new = new + block.attn.out_proj(torch.cat(parts, -1))
            new = new + block.mlp(block.ln_2(new))
        x = block(x)
    tokens = net.ln_post(new) @ net.proj
    return tokens[:, 1:]


@torch.no_grad()
@pytest.mark.parametrize("surgery", [False, True])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (3, 2), (4, 4)])
def test_enhanced_patches_are_those_written_out(
    surgery: bool, layers: int, heads: int
) -> None:
    model = tiny.clip_model(heads=heads)
    added = affinity(16)
    seen = clip_streams(
        model.visual,
        images(),
        layers=layers,
        attention=added,
        weight=0.7,
        streams="surgery" if surgery else "recursive",
    )
    wanted = slow(model, images(), 0.7 * added, layers, surgery)
    torch.testing.assert_close(seen.patches, wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_two_ways_and_the_number_of_layers_differ() -> None:
    visual = tiny.clip_model().visual
    found = [
        clip_streams(visual, images(), layers=n, attention=affinity(16), streams=way)
        for n in (1, 3)
        for way in ("recursive", "surgery")
    ]
    for index, one in enumerate(found):
        for other in found[:index]:
            assert not torch.allclose(one.patches, other.patches, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (8, 40), (56, 24)])
def test_any_grid_of_patches(visual: Any, size: tuple[int, int]) -> None:
    rows, columns = size[0] // 8, size[1] // 8
    count = rows * columns
    seen = clip_streams(
        visual, images(*size), attention=affinity(count), raw=True, attended=1
    )
    assert seen.grid == (rows, columns)
    assert seen.patches.shape == (2, count, 12)
    assert {one.shape[1] for one in seen.raw} == {count}
    assert seen.patch_attention[0].shape == (2, count, count)
    assert seen.patches.isfinite().all()


def test_positions_are_resized_bilinearly_and_the_class_keeps_its_own() -> None:
    places = torch.arange(1 + 6.0)[:, None] * torch.ones(2)
    assert resized_positions(places, 1, (2, 3), (2, 3)) is places
    wide = resized_positions(places, 1, (2, 3), (4, 6))
    assert wide.shape == (25, 2)
    assert torch.equal(wide[0], places[0])
    field = wide[1:, 0].reshape(4, 6)
    assert field[0, 0] == 1
    assert field[-1, -1] == 6
    # Half a pixel apart: a quarter of the way from 1 to 2, and from 1 to 4.
    torch.testing.assert_close(field[0, 1], torch.tensor(1.25))
    torch.testing.assert_close(field[1, 0], torch.tensor(1.75))


@torch.no_grad()
def test_attention_is_the_mean_over_heads_of_the_last_layers(visual: Any) -> None:
    seen = clip_streams(visual, images(), attended=3)
    assert len(seen.attention) == 3
    for one in seen.attention:
        assert one.shape == (2, seen.prefix + 16, seen.prefix + 16)
        assert (one >= 0).all()
        torch.testing.assert_close(one.sum(-1), torch.ones(2, seen.prefix + 16))
    assert not clip_streams(visual, images()).attention


@torch.no_grad()
def test_attention_is_what_torch_calls_so() -> None:
    visual = tiny.clip_model().visual
    seen = clip_streams(visual, images(), attended=2)
    x = visual._embeds(images())
    maps = []
    for block in visual.transformer.resblocks:
        inner = block.ln_1(x)
        maps.append(block.attn(inner, inner, inner, need_weights=True)[1])
        x = block(x)
    for ours, theirs in zip(seen.attention, maps[-2:], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("streams", ["recursive", "surgery"])
def test_a_batch_is_as_one_by_one(visual: Any, streams: Any) -> None:
    def seen(image: Tensor, added: Tensor) -> ClipStreams:
        return clip_streams(
            visual, image, attention=added, streams=streams, fusion=Fusion.GATED
        )

    whole = seen(images(count=3), affinity(16, count=3))
    for index in range(3):
        place = slice(index, index + 1)
        one = seen(images(count=3)[place], affinity(16, count=3)[place])
        torch.testing.assert_close(
            whole.patches[place], one.patches, atol=1e-5, rtol=1e-5
        )


def test_fusions_are_those_of_the_table() -> None:
    own = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    added = torch.tensor([[[0.5, 0.0, 0.1], [0.0, 0.6, 0.0], [0.3, 0.0, 0.0]]])
    block = own[:, :, 1:, 1:]
    for fusion in Fusion:
        found = fused(own, added, 1, fusion)
        inner = found[:, :, 1:, 1:]
        if fusion is not Fusion.NORMALISED:
            assert torch.equal(found[:, :, 0], own[:, :, 0])
            assert torch.equal(found[..., 0], own[..., 0])
        if fusion is Fusion.ADD:
            torch.testing.assert_close(
                found.sum(-1)[:, :, 1:], 1 + added.sum(-1)[:, None].expand(1, 2, 3)
            )
            assert torch.equal(inner, block + added[:, None])
        elif fusion is Fusion.NORMALISED:
            torch.testing.assert_close(found.sum(-1), torch.ones(1, 2, 4))
            torch.testing.assert_close(
                found[0, 1, 1],
                (own[0, 1, 1] + torch.cat([torch.zeros(1), added[0, 0]])).softmax(0),
            )
        elif fusion is Fusion.MULTIPLIED:
            assert torch.equal(inner, block * added[:, None])
        elif fusion is Fusion.GATED:
            over = added[:, None].expand_as(block) > added.mean()
            assert torch.equal(inner[over], added[:, None].expand_as(block)[over])
            assert torch.equal(inner[~over], block[~over])
            assert int(over.sum()) == 2 * 3
        elif fusion is Fusion.DIFFUSION:
            assert torch.equal(inner, added[:, None].expand_as(block))
        else:
            assert torch.equal(found, own)


def test_what_does_not_fit_is_refused() -> None:
    visual = tiny.clip_model().visual
    with pytest.raises(UserError, match="30 x 32 is no multiple"):
        clip_streams(visual, images(30))
    with pytest.raises(UserError, match=r"5 layers cannot be enhanced; .* 1 to 4"):
        clip_streams(visual, images(), layers=5)
    with pytest.raises(UserError, match="attention of 9 layers"):
        clip_streams(visual, images(), attended=9)
    with pytest.raises(ValueError, match=r"must be \(2, 16, 16\)"):
        clip_streams(visual, images(), attention=affinity(9))
    with pytest.raises(ValueError, match="needs an attention map"):
        clip_streams(visual, images(), fusion="gated")


def test_a_tower_without_class_token_or_patches_is_refused() -> None:
    from open_clip.transformer import VisionTransformer

    pooled = VisionTransformer(32, 8, 16, 2, 2, 4.0, pool_type="avg")
    with pytest.raises(UserError, match="otherwise than by its class token"):
        clip_streams(pooled, images())
    custom = VisionTransformer(32, 8, 16, 2, 2, 4.0, block_type="custom")
    with pytest.raises(UserError, match="blocks other than CLIP's"):
        clip_streams(custom, images())
    with pytest.raises(UserError, match="no patch tokens"):
        clip_streams(torch.nn.Identity(), images())
    average = tiny.timm_tower(global_pool="avg", class_token=False)
    with pytest.raises(UserError, match="otherwise than by its class token"):
        clip_streams(average, images())
