"""Patch tokens of CLIP, with an attention map from elsewhere in its last layers.

DiCLIP (section III-C, eq. 7) adds a map of a diffusion model to CLIP's smooth
attention. The path that the image takes through CLIP itself, the original stream, is
never touched: its class token, its raw patch tokens and its attention are plain
CLIP's. Beside it runs an enhanced stream through the last layers, in one of two ways.

``recursive``, the paper's: the enhanced stream starts where those layers do and is
fed to the next as CLIP feeds its own, MLP included; the map joins every head.

``surgery``, the released code's, after CLIP Surgery: queries, keys and values of each
layer are the original stream's, the attention is softmax(q qT) + 2 softmax(k kT) with
the map, summed over heads and shared by all of them, its answers accumulate, and the
MLP is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from diffseg.domain.fusion import Fusion
from diffseg.errors import UserError
from diffseg.networks.clip_towers import Tower, tower_of

Streams = Literal["recursive", "surgery"]
Join = Callable[[int, Tensor, Tensor], Tensor]
"""A block's index, the original stream and the enhanced one before it; what follows."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipStreams:
    """What CLIP sees of images, patch by patch; N patches, row by row.

    Parameters
    ----------
    patches : (B, N, E) Tensor
        Of the enhanced stream, in the space of text embeddings; no norm is divided by.
    class_token : (B, E) Tensor
        Of the original stream, in the same space: CLIP's embedding of the image.
    grid : (int, int)
        Patches (y, x); their product is N.
    raw : tuple of (B, N, D) Tensor
        Patch tokens after each block of the original stream; empty unless asked for.
    attention : tuple of (B, P + N, P + N) Tensor
        Of the last blocks of the original stream, the mean over heads; rows sum to 1.
        The first P tokens are no patches.
    prefix : int
        P: the class token, and registers.
    """

    patches: Tensor
    class_token: Tensor
    grid: tuple[int, int]
    raw: tuple[Tensor, ...] = ()
    attention: tuple[Tensor, ...] = ()
    prefix: int = 1

    @property
    def patch_attention(self) -> tuple[Tensor, ...]:
        """Attention (B, N, N) of patches to patches; rows sum to less than 1."""
        first = self.prefix
        return tuple(one[:, first:, first:] for one in self.attention)


def clip_streams(
    visual: nn.Module,
    image: Tensor,
    *,
    layers: int = 3,
    attention: Tensor | None = None,
    weight: float = 1.0,
    fusion: Fusion | str = Fusion.ADD,
    streams: Streams = "recursive",
    raw: bool = False,
    attended: int = 0,
) -> ClipStreams:
    """Patch tokens and class token of images, enhanced by an attention map.

    Parameters
    ----------
    visual : Module
        Image tower of an open_clip model, in evaluation.
    image : (B, 3, Y, X) Tensor
        Normalised as the tower expects; sides are any multiples of its patch.
    layers : int
        Last blocks that are enhanced, from 1 to all of them.
    attention : (B, N, N) Tensor, optional
        The map, from each patch (row) to all; joins after the softmax, between patches
        only, and nothing is normalised afterwards. Without it ``recursive`` gives plain
        CLIP and ``surgery`` gives CLIP Surgery.
    weight : float
        Of the map, >= 0; nothing at all is changed by adding it with weight 0.
    fusion : Fusion or str
    streams : {"recursive", "surgery"}
    raw : bool
        Whether patch tokens of all blocks are kept.
    attended : int
        Last blocks whose attention is kept.

    Returns
    -------
    ClipStreams

    Raises
    ------
    UserError
        The tower is not supported, has fewer blocks than are asked for, or the image's
        sides are no multiples of its patch.
    ValueError
        The map's shape does not fit, or is missing though the fusion needs it.
    """
    tower = tower_of(visual)
    grid = _grid(tower, image)
    fusion = Fusion(fusion)
    _check_layers(tower, layers, attended)
    added = _added(attention, (len(image), grid[0] * grid[1]), fusion)
    x = tower.embedded(image)
    if added is not None:
        added = weight * added.to(x)
    if fusion is Fusion.ADD and weight == 0:
        added = None
    join: Join | None = None
    if streams == "surgery":
        join = partial(_surgery, tower, added, fusion)
    elif added is not None:
        join = partial(_recursive, tower, added, fusion)
    return _through(tower, x, join, tower.depth - layers, grid, raw, attended)


def _through(
    tower: Tower,
    x: Tensor,
    join: Join | None,
    first: int,
    grid: tuple[int, int],
    raw: bool,
    attended: int,
) -> ClipStreams:
    """Take tokens through all blocks, the enhanced stream along from `first` on."""
    enhanced = x
    tokens, maps = [], []
    for index in range(tower.depth):
        if index >= tower.depth - attended:
            maps.append(_mean_attention(tower, index, x))
        if index <= first:
            enhanced = x
        if index >= first and join is not None:
            enhanced = join(index, x, enhanced)
        x = tower.block(index, x)
        if raw:
            tokens.append(x[:, tower.prefix :])
    answer = tower.finished(x)
    patches = answer if join is None else tower.finished(enhanced)
    return ClipStreams(
        patches[:, tower.prefix :],
        answer[:, 0],
        grid,
        tuple(tokens),
        tuple(maps),
        tower.prefix,
    )


def fused(own: Tensor, added: Tensor, prefix: int, fusion: Fusion) -> Tensor:
    """Let a map join an attention, between patches only.

    Parameters
    ----------
    own : (B, H, P + N, P + N) Tensor
        After the softmax.
    added : (B, N, N) Tensor
        Times its weight.
    prefix : int
        P, tokens that are no patches.
    fusion : Fusion

    Returns
    -------
    (B, H, P + N, P + N) Tensor
        Rows sum to what they come to; those of the first P tokens are as they were,
        but for ``NORMALISED``.
    """
    if fusion is Fusion.CLIP:
        return own
    extra = added[:, None]
    block = own[:, :, prefix:, prefix:]
    if fusion is Fusion.DIFFUSION:
        joined = extra.expand_as(block)
    elif fusion is Fusion.MULTIPLIED:
        joined = block * extra
    elif fusion is Fusion.GATED:
        mean = extra.mean(dim=(-2, -1), keepdim=True)
        joined = torch.where(extra > mean, extra, block)
    else:
        joined = block + extra
    result = own.clone()
    result[:, :, prefix:, prefix:] = joined
    return result.softmax(dim=-1) if fusion is Fusion.NORMALISED else result


def _recursive(
    tower: Tower,
    added: Tensor,
    fusion: Fusion,
    index: int,
    original: Tensor,
    enhanced: Tensor,
) -> Tensor:
    """One block of the enhanced stream in the paper; the original has no part in it."""
    q, k, v = tower.heads(index, enhanced)
    own = fused(_attention(q, k), added, tower.prefix, fusion)
    x = enhanced + tower.joined(index, own @ v)
    return x + tower.mlp(index, x)


def _surgery(
    tower: Tower,
    added: Tensor | None,
    fusion: Fusion,
    index: int,
    original: Tensor,
    enhanced: Tensor,
) -> Tensor:
    """One block of the enhanced stream in the released code."""
    q, k, v = tower.heads(index, original)
    own = _attention(q, q) + 2 * _attention(k, k)
    if added is not None:
        own = fused(own, added, tower.prefix, fusion)
    return enhanced + tower.joined(index, own.sum(dim=1, keepdim=True) @ v)


def _attention(one: Tensor, other: Tensor) -> Tensor:
    """Softmax of scaled products: (B, H, T, d) twice to (B, H, T, T)."""
    scale = one.shape[-1] ** -0.5
    shares: Tensor = ((one * scale) @ other.transpose(-2, -1)).softmax(dim=-1)
    return shares


def _mean_attention(tower: Tower, index: int, tokens: Tensor) -> Tensor:
    q, k, _ = tower.heads(index, tokens)
    mean: Tensor = _attention(q, k).mean(dim=1)
    return mean


def _grid(tower: Tower, image: Tensor) -> tuple[int, int]:
    (height, width), (patch_y, patch_x) = image.shape[2:], tower.patch
    if height % patch_y or width % patch_x:
        raise UserError(
            f"CLIP sees patches of {patch_y} x {patch_x} pixels; an image of {height} "
            f"x {width} is no multiple of that"
        )
    return height // patch_y, width // patch_x


def _check_layers(tower: Tower, layers: int, attended: int) -> None:
    if not 1 <= layers <= tower.depth:
        raise UserError(
            f"{layers} layers cannot be enhanced; this CLIP has 1 to {tower.depth}"
        )
    if not 0 <= attended <= tower.depth:
        raise UserError(
            f"the attention of {attended} layers cannot be kept; this CLIP has "
            f"{tower.depth}"
        )


def _added(
    attention: Tensor | None, size: tuple[int, int], fusion: Fusion
) -> Tensor | None:
    """The map that joins, if one does."""
    if attention is None:
        if fusion not in (Fusion.ADD, Fusion.CLIP):
            raise ValueError(f"fusion {fusion} needs an attention map")
        return None
    expected = (size[0], size[1], size[1])
    if attention.shape != expected:
        raise ValueError(
            f"attention map of shape {tuple(attention.shape)}: it must be {expected}"
        )
    return None if fusion is Fusion.CLIP else attention
