"""Which patches of an image belong together, as a text-to-image model sees it (VCE).

DiCLIP, section III-C: an image is noised a little, the U-Net looks at it with the null
text, and a self-attention of its decoder, refined by clustering, tells CLIP's patches
what they are next to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion import generator
from diffseg.diffusion.attention_clustering import (
    Refinement,
    attention_clustering_refinement,
)
from diffseg.errors import UserError
from diffseg.models.text_diffusion import TextDiffusion
from diffseg.networks.attention_maps import (
    AttentionLayer,
    AttentionRead,
    find_layers,
    fine_layer,
    read_attention,
    semantic_layer,
)

Variant = Literal["paper", "code"]
_WEAK = 0.2  # of a column's largest product: the released code drops what is below
_HEADS = (1, 2)  # that the released code multiplies


@dataclass(frozen=True, slots=True)
class Enhancement:
    """How an image is shown to the model, and what is taken from it.

    Parameters
    ----------
    variant : {"paper", "code"}
        ``paper``: softmax attention, its mean over heads and layers. ``code``, as
        released: products without scale and softmax, divided by each column's largest,
        dropped below 0.2, rows summing to 1, and heads 1 and 2 multiplied.
    layers : tuple of str
        Modules, or their beginnings, such as ``up_blocks.1.attentions.2``; without any
        the last self-attention of the decoder's coarsest resolution.
    size : (int, int), optional
        Pixels (Y, X) at which the model sees the image; without it the image's own,
        enlarged to the next multiples that fit.
    timesteps : tuple of int
        Noise levels looked at; attention is averaged over them. 81 is the released
        code's, the 46th of 50 steps from 1000 downwards.
    refinement : Refinement
        Of the averaged map.
    fine : bool
        Whether the decoder's finest self-attention is read, too.
    fine_heads : tuple of int
        Heads of it that are averaged, all without any; the released code takes 1 and 2.
    """

    variant: Variant = "paper"
    layers: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    timesteps: tuple[int, ...] = (81,)
    refinement: Refinement = field(default_factory=Refinement)
    fine: bool = False
    fine_heads: tuple[int, ...] = ()

    @classmethod
    def as_released(cls, *, fine: bool = True) -> Enhancement:
        """All as the authors' code has it, with images of 320 x 320 pixels."""
        refinement = Refinement(stepped=True, threshold=0.0)
        return cls(
            "code", size=(320, 320), refinement=refinement, fine=fine, fine_heads=_HEADS
        )


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """What a text-to-image model says of an image's patches.

    Parameters
    ----------
    attention : (B, N, N) float32 Tensor
        Of CLIP's N patches, before the refinement.
    refined : (B, N, N) float32 Tensor
        After it; rows sum to 1.
    fine : (B, M, M) float32 Tensor, optional
        Of the finest tokens, as it was read.
    fine_grid : (int, int), optional
        Rows and columns of these.
    """

    attention: Tensor
    refined: Tensor
    fine: Tensor | None = None
    fine_grid: tuple[int, int] | None = None


def seen_size(
    model: TextDiffusion, image: Tensor, settings: Enhancement
) -> tuple[int, int]:
    """Pixels (Y, X) at which the model sees images (B, C, Y, X)."""
    if settings.size is not None:
        return settings.size
    rows, columns = (
        -(-side // model.factor) * model.factor for side in image.shape[2:]
    )
    return rows, columns


def draw_noise(
    model: TextDiffusion, size: tuple[int, int], seed: int, draws: int = 1
) -> Tensor:
    """Standard normal noise (D, Z, y, x) for images seen at `size` pixels (Y, X)."""
    shape = model.latent_shape(size)
    fields = [torch.randn(shape, generator=generator(seed, i)) for i in range(draws)]
    return torch.stack(fields)


@torch.no_grad()
def enhance(
    model: TextDiffusion,
    image: Tensor,
    grid: tuple[int, int],
    noise: Tensor,
    settings: Enhancement | None = None,
    context: Tensor | None = None,
) -> Correlation:
    """Tell which patches of images belong together.

    Parameters
    ----------
    model : TextDiffusion
    image : (B, C, Y, X) Tensor
        In [0, 1], grey (C = 1) or RGB (C = 3).
    grid : (int, int)
        Rows and columns of CLIP's patches; N is their product.
    noise : (D, Z, y, x) Tensor
        Standard normal; attention is averaged over the D draws. All images meet the
        same, so that none depends on the others. See `draw_noise` and `seen_size`.
    settings : Enhancement, optional
        The paper's without.
    context : (1, L, C) or (B, L, C) Tensor, optional
        Embedding of a text; of the null text without.

    Raises
    ------
    UserError
        An image, a noise, a noise level, a layer or a head does not fit the model.
    """
    how = settings or Enhancement()
    size = seen_size(model, image, how)
    _check(model, size, noise, how)
    if tuple(image.shape[2:]) != size:
        image = functional.interpolate(image, size, mode="bilinear", antialias=True)
    latents = model.encode(image)
    text = model.embed([""]) if context is None else context
    text = text.to(latents.device).expand(len(latents), -1, -1)
    layers = _layers(model, how)
    wanted = [*layers, fine_layer(model.unet)] if how.fine else layers
    coarse: Tensor | None = None
    fine: Tensor | None = None
    fine_grid, looks = None, len(how.timesteps) * len(noise)
    for timestep in how.timesteps:
        t = torch.full((len(latents),), timestep, device=latents.device)
        for one in noise.to(latents):
            noisy = model.schedule.add_noise(latents, one.expand_as(latents), t)
            read = read_attention(model.unet, noisy, t, text, wanted)
            coarse = _added(coarse, _coarse(read[: len(layers)], grid, how.variant))
            if how.fine:
                fine = _added(fine, _head_mean(read[-1], how.fine_heads))
                fine_grid = read[-1].grid
    assert coarse is not None  # there is at least one timestep and one draw
    attention = coarse / looks
    refined = attention_clustering_refinement(attention, grid, how.refinement)
    return Correlation(
        attention, refined, None if fine is None else fine / looks, fine_grid
    )


def _layers(model: TextDiffusion, how: Enhancement) -> list[AttentionLayer]:
    layers = find_layers(model.unet, how.layers) or [semantic_layer(model.unet)]
    to_text = [layer.name for layer in layers if layer.cross]
    if to_text:
        raise UserError(
            f"{to_text[0]} attends to the text; give layers that attend to the image "
            "itself, attn1"
        )
    return layers


def _added(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total + more


def _check(
    model: TextDiffusion, size: tuple[int, int], noise: Tensor, how: Enhancement
) -> None:
    shape = model.latent_shape(size)
    if noise.ndim != 4 or tuple(noise.shape[1:]) != shape or len(noise) < 1:
        raise UserError(
            f"noise is {tuple(noise.shape)}; images seen at {size[0]} x {size[1]} "
            f"pixels want (draws, {', '.join(map(str, shape))})"
        )
    last = model.schedule.timesteps - 1
    wrong = [t for t in how.timesteps if not 0 <= t <= last]
    if wrong or not how.timesteps:
        raise UserError(
            f"timesteps are {how.timesteps}; give one or more from 0 to {last}"
        )


def _coarse(
    read: list[AttentionRead], grid: tuple[int, int], variant: Variant
) -> Tensor:
    """Mean over layers of their map on CLIP's grid, (B, N, N)."""
    of_one = softmax_map if variant == "paper" else product_map
    return torch.stack([of_one(one.resized(grid)) for one in read]).mean(0)


def softmax_map(read: AttentionRead) -> Tensor:
    """Softmax attention averaged over heads, (B, N, N); rows sum to 1 (the paper's)."""
    return read.probabilities().mean(1)


def product_map(read: AttentionRead) -> Tensor:
    """Heads 1 and 2 multiplied, (B, N, N), as the released code makes a map.

    Each head's products, without scale and softmax, are divided by the largest of
    their column, dropped below 0.2, and their rows made to sum to 1. A column without
    a positive product gets no attention, and a row without one pays none.

    Raises
    ------
    UserError
        The layer has fewer than 3 heads.
    """
    _check_heads(read.layer, _HEADS)
    first, second = (_shares(read.scores()[:, head]) for head in _HEADS)
    return first @ second


def _shares(scores: Tensor) -> Tensor:
    largest = scores.amax(-2, keepdim=True)
    share = torch.where(largest > 0, scores / largest, 0.0)
    share = torch.where(share < _WEAK, 0.0, share)
    return share / share.sum(-1, keepdim=True).clamp(min=1e-30)


def _head_mean(read: AttentionRead, heads: tuple[int, ...]) -> Tensor:
    _check_heads(read.layer, heads)
    chosen = list(heads) or list(range(read.layer.heads))
    return read.probabilities()[:, chosen].mean(1)


def _check_heads(layer: AttentionLayer, heads: tuple[int, ...]) -> None:
    if any(not 0 <= head < layer.heads for head in heads):
        raise UserError(
            f"heads {heads} are wanted of {layer.name}, which has {layer.heads}: "
            f"give some from 0 to {layer.heads - 1}, or the variant paper"
        )
