"""DiCLIP's head: what it computes, for any number of layers, width and grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.diclip_head import DiclipHead, QuickGELU, predicted_affinity

SMALL: dict[str, Any] = {
    "layers": 3, "features": 10, "classes": 2, "width": 8, "heads": 2, "wide": 6
}  # fmt: skip
DECODERS = ("transformer", "convolution")


def tokens(
    layers: int = 3, images: int = 2, grid: tuple[int, int] = (4, 5), width: int = 10
) -> list[Tensor]:
    source = torch.Generator().manual_seed(0)
    size = (images, grid[0] * grid[1], width)
    return [torch.randn(size, generator=source) for _ in range(layers)]


def head(**config: Any) -> DiclipHead:
    torch.manual_seed(0)
    return DiclipHead(**{**SMALL, **config}).eval()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("layers", "width", "grid"), [(1, 4, (3, 3)), (3, 8, (4, 5)), (5, 12, (7, 2))]
)
def test_any_number_of_layers_width_and_grid(
    decoder: Any, layers: int, width: int, grid: tuple[int, int]
) -> None:
    net = head(layers=layers, width=width, decoder=decoder)
    found = net(tokens(layers, grid=grid), grid)
    assert found.logits.shape == (2, 3, *grid)
    assert found.fused.shape == (2, width, *grid)


def test_layers_are_joined_and_fused_as_one_convolution_would() -> None:
    net, given = head(), tokens()
    found = net(given, (4, 5)).fused
    each = [
        layer(one).transpose(1, 2).unflatten(2, (4, 5))
        for layer, one in zip(net.projections, given, strict=True)
    ]
    torch.testing.assert_close(found, net.fuse(torch.cat(each, dim=1)))


def test_sizes_of_the_published_head() -> None:
    net = DiclipHead()
    mlp = 768 * 256 + 256 + 256 * 256 + 256
    fuse = 12 * 256 * 256 + 256
    block = 4 * 256**2 + 4 * 256 + 8 * 256**2 + 5 * 256 + 4 * 256
    last = 256 * 21 + 21
    wanted = 12 * mlp + fuse + 3 * block + last
    assert sum(p.numel() for p in net.parameters()) == wanted


def test_the_transformer_knows_no_places_and_the_convolutions_do() -> None:
    given = tokens(grid=(8, 9))
    order = torch.randperm(72, generator=torch.Generator().manual_seed(1))
    turned = [one[:, order] for one in given]
    for decoder, same in (("transformer", True), ("convolution", False)):
        net = head(decoder=decoder)
        found = net(turned, (8, 9)).logits.flatten(2)
        wanted = net(given, (8, 9)).logits.flatten(2)[:, :, order]
        assert torch.allclose(found, wanted, rtol=0, atol=1e-5) is same


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_batch_is_its_images_one_by_one(decoder: Any) -> None:
    net, given = head(decoder=decoder), tokens()
    whole = net(given, (4, 5)).logits
    for image in range(2):
        alone = net([one[image : image + 1] for one in given], (4, 5)).logits
        torch.testing.assert_close(whole[image : image + 1], alone)


def test_whole_channels_are_dropped_while_learning() -> None:
    net = head(dropout=0.5).train()
    fused = net(tokens(), (4, 5)).fused
    empty = (fused == 0).all((2, 3))
    assert empty.any()
    assert not empty.all()
    assert bool(((fused == 0) == empty[:, :, None, None]).all())


@pytest.mark.parametrize("apart", [5, 3])
def test_convolutions_look_at_patches_so_far_and_twice_as_far(apart: int) -> None:
    net = head(layers=1, decoder="convolution", dilation=apart)
    given = tokens(1, 1, (25, 25))
    given[0].requires_grad_(True)
    net(given, (25, 25)).logits[0, 0, 12, 12].backward()
    assert given[0].grad is not None
    seen = given[0].grad[0].abs().sum(-1).reshape(25, 25).nonzero()
    wanted = {12 + steps * apart for steps in range(-2, 3)}
    assert set(seen[:, 0].tolist()) == wanted
    assert set(seen[:, 1].tolist()) == wanted


def test_quick_gelu() -> None:
    found = QuickGELU()(torch.tensor([0.0, 2.0]))
    assert found.tolist() == pytest.approx([0, 2 / (1 + math.exp(-3.404))])


def test_affinity_pair_by_pair() -> None:
    fused = torch.randn(2, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    found = predicted_affinity(fused)
    for image in range(2):
        flat = fused[image].flatten(1).T.numpy()
        cosine = np.array(
            [
                [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in flat]
                for a in flat
            ]
        )
        wanted = 1 / (1 + np.exp(-3 * (cosine - cosine.mean())))
        np.testing.assert_allclose(found[image], wanted, atol=1e-5)
    torch.testing.assert_close(found, found.transpose(1, 2))
    torch.testing.assert_close(predicted_affinity(fused[:1])[0], found[0])


def test_heads_are_built_by_name_and_refuse_what_they_cannot_take() -> None:
    net = build_network("diclip_head", **SMALL)
    assert net(tokens(), (4, 5)).logits.shape == (2, 3, 4, 5)
    for wrong in ({"heads": 3}, {"decoder": "none"}, {"layers": 0}, {"hidden": 3}):
        with pytest.raises(UserError):
            build_network("diclip_head", **{**SMALL, **wrong})


@pytest.mark.parametrize(
    ("layers", "grid"), [(2, (4, 5)), (3, (4, 4))], ids=["layers", "grid"]
)
def test_other_tokens_are_refused(layers: int, grid: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"layers|grid"):
        head()(tokens(layers), grid)
