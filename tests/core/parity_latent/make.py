"""Run the public latent networks on made-up weights and store what they answer.

    python make.py LATENT_DIFFUSION LEAF SDSEG

takes checkouts of CompVis/latent-diffusion, Pearisli/LEAF and
lin-tianyu/Stable-Diffusion-Seg, and writes the .npz files beside itself. No weight is
stored: each is drawn anew from its published name, here and in the test.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
UNET = {
    "model_channels": 32,
    "num_res_blocks": 2,
    "channel_mult": (1, 2, 2),
    "attention_resolutions": (1, 2),
    "num_heads": 8,
    "dropout": 0.2,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers of `name` alone: those of a weight, or with ``input`` of an input."""
    source = np.random.RandomState(zlib.crc32(name.encode()))
    numbers = source.standard_normal(shape)
    if len(shape) > 1 and not name.startswith("input"):
        numbers /= np.sqrt(np.prod(shape[1:]))
    elif not name.startswith("input"):
        numbers = numbers * 0.1 + (1.0 if name.endswith("weight") else 0.0)
    return torch.from_numpy(np.asarray(numbers, dtype=np.float32))


def state_of(shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    """A published state dict, drawn anew from its names and shapes."""
    return {name: drawn(name, tuple(shape)) for name, shape in shapes.items()}


def binary(shape: tuple[int, ...]) -> Tensor:
    """A mask of blobs, 0 and 1."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape[2:]), indexing="ij")
    blob = ((y * 1.3) ** 2 + (x - 0.2) ** 2 < 0.4).float()
    return blob.expand(shape).clone()


def fill(module: nn.Module, prefix: str) -> dict[str, list[int]]:
    """Give a module the weights of its names below `prefix`; the names and shapes."""
    state = {
        name: drawn(prefix + name, tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
    }
    module.load_state_dict(state)
    module.eval()
    return {prefix + name: list(tensor.shape) for name, tensor in state.items()}


def stand_in(name: str, **members: Any) -> None:
    """Let `name` be importable where it is not: the networks do not need it."""
    try:
        importlib.import_module(name)
    except ImportError:
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module


def public(checkout: str, *names: str) -> list[Any]:
    """Modules of a checkout, imported afresh."""
    for loaded in [n for n in sys.modules if n.split(".")[0] in ("ldm", "leaf")]:
        del sys.modules[loaded]
    sys.path.insert(0, checkout)
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(checkout)


def save(name: str, shapes: Mapping[str, Any], **arrays: Tensor) -> None:
    """Store names, shapes and answers."""
    told = np.frombuffer(json.dumps(shapes).encode(), dtype=np.uint8)
    np.savez_compressed(
        HERE / f"{name}.npz", shapes=told, **{k: v.numpy() for k, v in arrays.items()}
    )


def autoencoder(model: Any, multipliers: tuple[int, ...]) -> tuple[Any, Any]:
    """Encoder and decoder of a public ``model.py``."""
    config = {
        "ch": 32,
        "out_ch": 3,
        "ch_mult": multipliers,
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "in_channels": 3,
        "resolution": 32,
        "z_channels": 4,
    }
    return model.Encoder(**config, dropout=0.2), model.Decoder(**config)


@torch.no_grad()
def compvis(checkout: str) -> None:
    """The U-Net, and the autoencoder both ways."""
    openai, model = public(
        checkout,
        "ldm.modules.diffusionmodules.openaimodel",
        "ldm.modules.diffusionmodules.model",
    )
    unet = openai.UNetModel(image_size=16, in_channels=8, out_channels=4, **UNET)
    shapes = fill(unet, "model.diffusion_model.")
    x, t = drawn("input unet", (2, 8, 16, 16)), torch.tensor([3, 999])
    encoder, decoder = autoencoder(model, (1, 2, 2))
    whole = nn.Module()
    whole.encoder, whole.decoder = encoder, decoder
    whole.quant_conv, whole.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
    shapes |= fill(whole, "first_stage_model.")
    moments = whole.quant_conv(encoder(drawn("input image", (1, 3, 32, 32))))
    latent = drawn("input latent", (1, 4, 8, 8))
    image = decoder(whole.post_quant_conv(latent))
    save("compvis", shapes, answer=unet(x, t), moments=moments, image=image)


@torch.no_grad()
def leaf(checkout: str) -> None:
    """The pipeline's parts in turn, and the projected map of the alignment."""
    units, coders = public(checkout, "leaf.unet", "leaf.autoencoder")
    unet = units.UNetModel(in_channels=8, out_channels=4, **UNET)
    wrapper = units.UNetModelWrapper(unet, True, projector_dim=48, z_dim=16)
    config = {"ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1}
    vae, encoder = coders.AutoencoderKL(**config), coders.LatentEncoder(**config)
    shapes = fill(unet, "unet.") | fill(vae, "vae.") | fill(encoder, "latent_encoder.")
    shapes |= fill(wrapper.projector, "projector.")
    image, mask = drawn("input image", (1, 3, 64, 64)), binary((1, 3, 64, 64))
    zx = encoder(image).mode() * 0.18215
    zy = vae.encode(mask * 2 - 1).mode() * 0.18215
    noise, t = drawn("input noise", (1, 4, 32, 32)), torch.tensor([999])
    answer, projected = wrapper(torch.cat([zx, noise], dim=1), t)
    decoded = (vae.decode(answer / 0.18215).clamp(-1, 1) + 1) / 2
    decoded = decoded.mean(1, keepdim=True)
    save("leaf", shapes, zx=zx, zy=zy, answer=answer, projected=projected, mask=decoded)


@torch.no_grad()
def sdseg(checkout: str) -> None:
    """The parts of a checkpoint, the U-Net by its moving average."""
    openai, model = public(
        checkout,
        "ldm.modules.diffusionmodules.openaimodel",
        "ldm.modules.diffusionmodules.model",
    )
    (ema,) = public(checkout, "ldm.modules.ema")
    wrapper = nn.Module()
    wrapper.diffusion_model = openai.UNetModel(
        image_size=16, in_channels=8, out_channels=4, **UNET
    )
    shapes = fill(wrapper, "model.")
    average = ema.LitEma(wrapper)
    counts = {"decay", "num_updates"}
    drawn_average = {
        name: drawn("model_ema." + name, tuple(tensor.shape))
        for name, tensor in average.state_dict().items()
        if name not in counts
    }
    average.load_state_dict(drawn_average, strict=False)
    average.copy_to(wrapper)
    shapes |= {"model_ema." + n: list(t.shape) for n, t in drawn_average.items()}
    first, condition = nn.Module(), nn.Module()
    first.encoder, first.decoder = autoencoder(model, (1, 2, 2))
    first.quant_conv, first.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
    shapes |= fill(first, "first_stage_model.")
    condition.encoder, _ = autoencoder(model, (1, 2, 2))
    condition.out = nn.Conv2d(8, 4, 1)
    shapes |= fill(condition, "cond_stage_model.")
    image, mask = drawn("input image", (1, 3, 64, 64)), binary((1, 3, 64, 64))
    zx = condition.out(condition.encoder(image))
    latent = first.quant_conv(first.encoder(mask * 2 - 1))[:, :4]
    scale = 1 / latent.flatten().std()
    noise, t = drawn("input noise", (1, 4, 16, 16)), torch.tensor([999])
    answer = wrapper.diffusion_model(torch.cat([noise, zx], dim=1), t)
    decoded = first.decoder(first.post_quant_conv(answer / scale))
    decoded = ((decoded + 1) / 2).clamp(0, 1).mean(1, keepdim=True)
    save(
        "sdseg",
        shapes,
        zx=zx,
        zy=latent * scale,
        scale=scale,
        answer=answer,
        mask=decoded,
    )


def main() -> None:
    """Make all three."""
    unused = {"rearrange": None, "repeat": None}
    stand_in("einops", **unused)
    torch.set_num_threads(1)
    for make, checkout in zip((compvis, leaf, sdseg), sys.argv[1:4], strict=True):
        make(checkout)


if __name__ == "__main__":
    main()
