"""The latent networks: as the public code answers, and what LEAF does with them.

The stored arrays are what CompVis/latent-diffusion, Pearisli/LEAF and
lin-tianyu/Stable-Diffusion-Seg answered to weights that are drawn anew from their
published names; ``parity_latent/make.py`` made them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from beside import beside
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.models.published import leaf, sdseg
from diffseg.networks import build_network
from diffseg.networks.alignment import Projector, alignment_map
from diffseg.networks.conditioned import Conditioned
from diffseg.networks.kl_autoencoder import KLAutoencoder, diffusers_names
from diffseg.networks.latent_diffusion import LatentDiffusion, from_published_parts
from diffseg.networks.latent_shapes import autoencoder_config, below, unet_config
from diffseg.networks.latent_unet import LatentUNet, adapt_input_convolution

STORED = Path(__file__).parent / "parity_latent"
# What the stored answers are equal to, in float32.
CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SMALL: dict[str, Any] = {
    "autoencoder": {"channels": 16, "multipliers": (1, 2), "blocks": 1, "groups": 8},
    "unet": {
        "channels": 32,
        "multipliers": (1, 2),
        "blocks": 1,
        "heads": 4,
        "attention": (2,),
    },
}


MAKER = beside(__file__, "parity_latent/make")
drawn: Callable[[str, tuple[int, ...]], Tensor] = MAKER.drawn


def stored(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A published state dict, and what its network answered."""
    state, answers = _stored(name)
    return dict(state), answers


@cache
def _stored(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    with np.load(STORED / f"{name}.npz") as arrays:
        shapes = json.loads(bytes(arrays["shapes"]))
        answers = {k: torch.from_numpy(arrays[k]) for k in arrays if k != "shapes"}
    return MAKER.state_of(shapes), answers


def small(**config: Any) -> LatentDiffusion:
    """A small network whose layers that are born zero are not zero."""
    torch.manual_seed(0)
    network = build_network("latent_diffusion", **SMALL | config)
    for parameter in network.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    assert isinstance(network, LatentDiffusion)
    return network.eval()


def loaded(kind: Any, name: str) -> tuple[LatentDiffusion, dict[str, Tensor]]:
    state, answers = stored(name)
    if "scale" in answers:
        state["scale_factor"] = answers["scale"]
    config = kind.network(state)
    network = build_network(config.pop("name"), **config)
    network.load_state_dict(kind.convert(state))
    assert isinstance(network, LatentDiffusion)
    return network.eval(), answers


# --- the public code's answers -------------------------------------------------------


def public_unet() -> tuple[LatentUNet, Tensor]:
    state, answers = stored("compvis")
    mine = below(state, "model.diffusion_model.")
    network = LatentUNet(**unet_config(mine))
    network.load_state_dict(mine)
    return network.eval(), answers["answer"]


@torch.no_grad()
def answered(network: LatentUNet) -> Tensor:
    image, noisy = drawn("input unet", (2, 8, 16, 16)).chunk(2, dim=1)
    return network(noisy, torch.tensor([3, 999]), image)


def test_unet_answers_as_compvis_s() -> None:
    network, expected = public_unet()
    torch.testing.assert_close(answered(network), expected, **CLOSE)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net.input_blocks[3][0], "resample", nn.MaxPool2d(2)),
        lambda net: setattr(net.input_blocks[1][1], "heads", 4),
        lambda net: setattr(net.middle_block[1].norm, "eps", 1e-2),
        lambda net: setattr(net.output_blocks[0][0], "film", False),
        lambda net: net.output_blocks[4].__delitem__(1),
        lambda net: net.out[2].weight.data[0, 0, 0, 0].add_(1.0),
    ],
)
def test_a_changed_layer_does_not(change: Callable[[LatentUNet], None]) -> None:
    network, expected = public_unet()
    change(network)
    try:
        answer = answered(network)
    except RuntimeError:
        return  # the shapes do not fit any more
    assert (answer - expected).abs().max() > 1e-3


def test_autoencoder_answers_as_compvis_s() -> None:
    state, answers = stored("compvis")
    mine = diffusers_names(below(state, "first_stage_model."))
    autoencoder = KLAutoencoder(**autoencoder_config(mine))
    autoencoder.load_state_dict(mine)
    with torch.no_grad():
        moments = autoencoder.moments(drawn("input image", (1, 3, 32, 32)))
        image = autoencoder.decode(drawn("input latent", (1, 4, 8, 8)))
    torch.testing.assert_close(torch.cat(moments, 1), answers["moments"], **CLOSE)
    torch.testing.assert_close(image, answers["image"], **CLOSE)


@torch.no_grad()
def test_leaf_answers_as_the_public_pipeline() -> None:
    network, expected = loaded(leaf, "leaf")
    state, _ = stored("leaf")
    image, mask = drawn("input image", (1, 3, 64, 64)), MAKER.binary((1, 1, 64, 64))
    zx = network.encode(image)
    torch.testing.assert_close(zx, expected["zx"], **CLOSE)
    torch.testing.assert_close(network.encode_mask(mask), expected["zy"], **CLOSE)
    where = alignment_map(network, (64, 64), 256)
    assert (where.channels, where.size) == (32, (16, 16))
    noise, t = drawn("input noise", (1, 4, 32, 32)), torch.tensor([999])
    answer, seen = network.denoise_with_features(noise, t, zx, where.block)
    torch.testing.assert_close(answer, expected["answer"], **CLOSE)
    projector = Projector(32, 16, hidden=48)
    projector.load_state_dict(below(state, "projector."))
    torch.testing.assert_close(projector(seen), expected["projected"], **CLOSE)
    torch.testing.assert_close(network.decode(answer), expected["mask"], **CLOSE)


@torch.no_grad()
def test_sdseg_answers_as_its_public_code() -> None:
    network, expected = loaded(sdseg, "sdseg")
    image, mask = drawn("input image", (1, 3, 64, 64)), MAKER.binary((1, 1, 64, 64))
    zx = network.encode(image)
    torch.testing.assert_close(zx, expected["zx"], **CLOSE)
    torch.testing.assert_close(network.encode_mask(mask), expected["zy"], **CLOSE)
    noise, t = drawn("input noise", (1, 4, 16, 16)), torch.tensor([999])
    answer = network.denoise(noise, t, zx)
    torch.testing.assert_close(answer, expected["answer"], **CLOSE)
    torch.testing.assert_close(network.decode(answer), expected["mask"], **CLOSE)
    assert not network.scale_missing
    assert network.measure_scale(mask) == pytest.approx(float(expected["scale"]))


def test_sdseg_s_weights_are_the_moving_average_s_with_the_mask_second() -> None:
    state, answers = stored("sdseg")
    state["scale_factor"] = answers["scale"]
    first = sdseg.convert(state)["unet.input_blocks.0.0.weight"]
    average = state["model_ema.diffusion_modelinput_blocks00weight"]
    torch.testing.assert_close(first[:, :4], average[:, 4:])
    torch.testing.assert_close(first[:, 4:], average[:, :4])
    without = {k: t for k, t in state.items() if not k.startswith("model_ema.")}
    raw = sdseg.convert(without)["unet.input_blocks.0.0.weight"]
    torch.testing.assert_close(
        raw[:, 4:], state["model.diffusion_model.input_blocks.0.0.weight"][:, :4]
    )


def test_a_checkpoint_of_another_kind_is_refused() -> None:
    state, answers = stored("sdseg")
    with pytest.raises(UserError, match="scale_factor"):
        sdseg.convert(state)
    with pytest.raises(UserError, match="single class"):
        sdseg.convert(
            state | {"model.diffusion_model.label_emb.weight": answers["scale"]}
        )
    with pytest.raises(UserError, match="not SDSeg's"):
        sdseg.convert({})
    with pytest.raises(UserError, match="no latent_encoder"):
        leaf.convert({"unet.a": answers["scale"], "vae.a": answers["scale"]})
    with pytest.raises(UserError, match="attends outside"):
        diffusers_names({"encoder.down.2.attn.0.q.weight": answers["scale"]})


def test_a_leaf_pipeline_is_read_from_its_folder(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    parts = {"unet": "a", "unet_ema": "b", "vae": "c", "latent_encoder": "d"}
    for folder, name in parts.items():
        (tmp_path / folder).mkdir()
        save_file({name: torch.zeros(1)}, tmp_path / folder / "model.safetensors")
    (tmp_path / "model_index.json").write_text("{}")
    expected = {"unet.b", "vae.c", "latent_encoder.d"}
    assert leaf.read(tmp_path).keys() == expected
    assert leaf.read(tmp_path / "model_index.json").keys() == expected
    (tmp_path / "vae" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no vae"):
        leaf.read(tmp_path)


def test_what_the_published_say_of_themselves_fits_a_card() -> None:
    from diffseg.domain.card import Preparation, Sampling

    for kind in (leaf, sdseg):
        Sampling(**kind.sampling())
        assert Preparation(**kind.preparation()).size == (256, 256)
    assert leaf.sampling()["clip"]
    # What SDSeg's code calls a linear schedule is one of the roots of the betas.
    assert sdseg.sampling()["schedule"] == "scaled_linear"


# --- the published sizes -------------------------------------------------------------


def test_the_defaults_are_the_published_networks() -> None:
    with torch.device("meta"):  # sizes without numbers
        network = build_network("latent_diffusion")
    assert isinstance(network, LatentDiffusion)
    count = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in network.named_children()
    }
    assert count["autoencoder"] == 83_653_863
    assert count["unet"] / 1e6 == pytest.approx(294.97, abs=0.01)
    assert (network.factor, network.multiple, network.latent_channels) == (8, 128, 4)
    where = alignment_map(network, (256, 256), 256)
    assert (where.block, where.channels, where.size) == (3, 192, (16, 16))
    assert unet_config(network.unet.state_dict())["blocks"] == 2
    dropouts = {m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    assert dropouts == {0.0, 0.2}
    coder = network.image_encoder.encoder
    assert coder.down_blocks[0].resnets[0].dropout.p == 0.2
    assert coder.mid_block.resnets[1].dropout.p == 0.2


def test_a_network_to_ship_is_small() -> None:
    with torch.device("meta"):
        network = build_network(
            "latent_diffusion",
            autoencoder={
                "channels": 16,
                "multipliers": (1, 2, 2),
                "blocks": 1,
                "groups": 8,
            },
            unet={
                "channels": 32,
                "multipliers": (1, 2, 4),
                "blocks": 1,
                "attention": (2, 4),
            },
        )
    assert sum(p.numel() for p in network.parameters()) * 2 < 10e6  # bytes, halved


# --- parts ---------------------------------------------------------------------------


def test_the_adapted_convolution_sees_the_mean_of_both() -> None:
    torch.manual_seed(1)
    old, new = nn.Conv2d(4, 6, 3), nn.Conv2d(8, 6, 3)
    assert old.bias is not None
    new.load_state_dict(
        {"weight": adapt_input_convolution(old.weight), "bias": old.bias}
    )
    a, b = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(new(torch.cat([a, b], 1)), old((a + b) / 2))


# --- the whole -----------------------------------------------------------------------


@torch.no_grad()
def test_shapes_and_the_protocol() -> None:
    network = small()
    assert isinstance(network, Conditioned)
    assert (network.factor, network.multiple, network.mask_channels) == (2, 4, 4)
    image, noisy = torch.randn(2, 3, 16, 12), torch.randn(2, 4, 8, 6)
    t = torch.tensor([0, 999])
    features = network.encode(image)
    assert features.shape == noisy.shape
    answer = network.denoise(noisy, t, features)
    torch.testing.assert_close(network(noisy, t, image), answer)
    assert network.decode(answer).shape == (2, 1, 16, 12)
    one = network.denoise(noisy[1:], t[1:], features[1:])
    torch.testing.assert_close(answer[1:], one, atol=1e-5, rtol=1e-4)
    for other in (
        network.denoise(noisy + 1, t, features),
        network.denoise(noisy, t + 300, features),
        network.denoise(noisy, t, features * 2),
    ):
        assert (other - answer).abs().max() > 1e-3


def test_the_autoencoder_is_frozen_and_never_in_training() -> None:
    network = small().train()
    assert network.image_encoder.training
    assert not network.autoencoder.training
    assert not any(p.requires_grad for p in network.autoencoder.parameters())
    mask = torch.ones(1, 1, 8, 8, requires_grad=True)
    assert not network.encode_mask(mask).requires_grad
    image = torch.randn(1, 3, 8, 8)
    assert not torch.equal(network.encode(image), network.encode(image))  # dropout


def test_what_is_trained_learns_and_the_frozen_does_not() -> None:
    network = small().train()
    image, mask = torch.randn(2, 3, 8, 8), (torch.randn(2, 1, 8, 8) > 0) + 0.0
    noisy, t = network.encode_mask(mask) * 0.9, torch.tensor([100, 900])
    answer, seen = network.denoise_with_features(noisy, t, network.encode(image), 1)
    (answer.abs().mean() + seen.square().mean()).backward()
    for part in (network.unet, network.image_encoder):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    assert all(p.grad is None for p in network.autoencoder.parameters())


@torch.no_grad()
def test_a_mask_is_scaled_once_each_way() -> None:
    network = small(scale=0.5)
    mask = (
        torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3)) > 0.5
    ) + 0.0
    latent = network.autoencoder.encode(mask.repeat(1, 3, 1, 1) * 2 - 1)
    torch.testing.assert_close(network.encode_mask(mask), latent * 0.5)
    image = network.autoencoder.decode(latent)
    expected = (image.clamp(-1, 1) / 2 + 0.5).mean(1, keepdim=True)
    torch.testing.assert_close(network.decode(latent * 0.5), expected)


@torch.no_grad()
def test_several_classes_are_a_channel_each() -> None:
    network = small(classes=2)
    seen: list[Tensor] = []
    network.autoencoder.encoder.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    mask = torch.zeros(1, 2, 8, 8)
    mask[:, 1, :4] = 1
    latent = network.encode_mask(mask)
    torch.testing.assert_close(seen[0][:, :2], mask * 2 - 1)
    assert (seen[0][:, 2] == -1).all()
    assert network.decode(latent).shape == (1, 2, 8, 8)
    with pytest.raises(UserError, match="3 foreground classes"):
        network.encode_mask(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UserError, match="classes is 4; give 1 to 3"):
        small(classes=4)


@torch.no_grad()
def test_sdseg_s_scale_is_measured_once_and_kept_with_the_weights() -> None:
    network = small(scale="measured", image_scale=1.0)
    assert network.scale_missing
    masks = torch.zeros(4, 1, 16, 16)
    masks[1:, :, 4:9, 2:12] = 1
    network.measure_scale(masks)
    assert float(network.encode_mask(masks).std()) == pytest.approx(1.0, abs=1e-4)
    other = small(scale="measured", image_scale=1.0)
    other.load_state_dict(network.state_dict())
    assert not other.scale_missing
    assert "mask_scale" not in small().state_dict()  # a fixed one is the card's
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(network.encode(image), network.image_encoder(image))


@torch.no_grad()
def test_leaf_begins_with_public_parts() -> None:
    state, _ = stored("compvis")
    first = "model.diffusion_model.input_blocks.0.0.weight"
    half = state | {first: state[first][:, :4]}  # as unconditional weights are
    parts = below(half, "first_stage_model.") | {"loss.logvar": torch.zeros(())}
    network = from_published_parts(parts, half).eval()
    torch.testing.assert_close(
        network.unet.input_blocks[0][0].weight, adapt_input_convolution(half[first])
    )
    image = drawn("input image", (1, 3, 32, 32))
    latent = network.autoencoder.encode(image) * 0.18215
    torch.testing.assert_close(network.encode(image), latent)
    grey = from_published_parts(parts, half, image_channels=1).eval()
    one = image[:, :1]
    torch.testing.assert_close(
        grey.encode(one), network.encode(one.repeat(1, 3, 1, 1)), atol=1e-5, rtol=1e-4
    )


def test_parts_of_another_size_are_refused() -> None:
    state, _ = stored("compvis")
    parts = below(state, "first_stage_model.")
    with pytest.raises(UserError, match="autoencoder: the weights are of another"):
        small().start_from(parts)
    network = small()
    with pytest.raises(UserError, match="U-Net: the weights are of another"):
        network.start_from(network.autoencoder.state_dict(), state)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SMALL | {"unet": {"channels": 48}}, "multiple of 32"),
        (SMALL | {"unet": {"heads": 5}}, "heads is 5"),
        ({"autoencoder": {"channels": 20}}, "groups is 32"),
        ({"autoencoder": {"width": 20}}, "width"),
        ({"scales": 1.0}, "scales"),
    ],
)
def test_a_wrong_configuration_is_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network("latent_diffusion", **config)


def test_an_alignment_without_a_map_is_told() -> None:
    with pytest.raises(UserError, match=r"49 patch tokens .* 16 x 16, 8 x 8"):
        alignment_map(small(), (32, 32), 49)


def test_a_projector_keeps_positions_in_a_row() -> None:
    projector = Projector(2, 3, hidden=4)
    seen = torch.randn(2, 2, 3, 5)
    tokens = projector(seen)
    assert tokens.shape == (2, 15, 3)
    alone = projector(seen[:, :, 1:2, 4:5])
    torch.testing.assert_close(tokens[:, 9:10], alone)
    widths = [m.out_features for m in projector if isinstance(m, nn.Linear)]
    assert widths == [4, 4, 3]
    assert Projector(192, 768)[2].weight.shape == (2048, 2048)
