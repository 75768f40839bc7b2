"""Attention of chosen layers of a text-to-image U-Net, read while it runs.

Any ``UNet2DConditionModel`` of diffusers can be read. Hooks look at what goes into a
layer and compute its queries and keys anew: the layer's processor is not touched, no
other layer is stored, and the U-Net stops after the last layer that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError, nearest

Side = Literal["down", "mid", "up"]
_INNER = ".transformer_blocks."


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """One attention of a U-Net, and where it stands.

    Parameters
    ----------
    name : str
        Of the module, such as ``up_blocks.1.attentions.2.transformer_blocks.0.attn1``.
    side : {"down", "mid", "up"}
    factor : int
        Latents along a side of one of its tokens.
    heads : int
    cross : bool
        Whether it attends to the text rather than to the image itself.
    """

    name: str
    side: Side
    factor: int
    heads: int
    cross: bool


@dataclass(frozen=True, slots=True, eq=False)
class AttentionRead:
    """Queries (B, H, N, d) and keys (B, H, M, d) of a layer; H heads.

    Parameters
    ----------
    layer : AttentionLayer
    query, key : Tensor
        Of N tokens on `grid`, row by row, and of the M that they attend to: the same,
        or those of the text.
    grid : (int, int)
        Rows and columns; ``N = rows * columns``.
    scale : float
        That the products are multiplied by before the softmax.
    """

    layer: AttentionLayer
    query: Tensor
    key: Tensor
    grid: tuple[int, int]
    scale: float

    def scores(self) -> Tensor:
        """Products of queries and keys (B, H, N, M), float32, neither scaled nor more.

        Computed in float32 whatever the weights are: those of some models exceed the
        range of float16.
        """
        return self.query.float() @ self.key.float().transpose(-1, -2)

    def probabilities(self) -> Tensor:
        """Softmax (B, H, N, M), float32; each row sums to 1."""
        return torch.softmax(self.scale * self.scores(), -1)

    def resized(self, grid: tuple[int, int]) -> AttentionRead:
        """Queries, and keys of the image too, interpolated linearly to another grid."""
        if grid == self.grid:
            return self
        query = _interpolated(self.query, self.grid, grid)
        cross = self.layer.cross
        key = self.key if cross else _interpolated(self.key, self.grid, grid)
        return replace(self, query=query, key=key, grid=grid)


def _interpolated(
    tokens: Tensor, grid: tuple[int, int], target: tuple[int, int]
) -> Tensor:
    batch, heads, _, dim = tokens.shape
    field = tokens.float().transpose(-1, -2).reshape(batch, heads * dim, *grid)
    field = functional.interpolate(
        field, target, mode="bilinear", align_corners=False, antialias=True
    )
    return field.reshape(batch, heads, dim, -1).transpose(-1, -2)


def attention_layers(unet: nn.Module, *, cross: bool = False) -> list[AttentionLayer]:
    """All self-attentions of a U-Net, or those to the text, in the order of use."""
    levels = _levels(unet)
    found = []
    for block, (side, factor) in levels.items():
        for inner, module in unet.get_submodule(block).named_modules():
            name = f"{block}.{inner}"
            mine = inner.endswith(".attn2" if cross else ".attn1")
            if mine and _INNER in name and _to_text(module) == cross:
                heads = int(module.heads)
                found.append(AttentionLayer(name, side, factor, heads, cross))
    return found


def _to_text(module: nn.Module) -> bool:
    return bool(getattr(module, "is_cross_attention", False))


def _levels(unet: Any) -> dict[str, tuple[Side, int]]:
    """Latents along a side of a token of every block, by its name, in order of use."""
    factor, levels = 1, dict[str, tuple[Side, int]]()
    for index, block in enumerate(unet.down_blocks):
        levels[f"down_blocks.{index}"] = ("down", factor)
        factor *= 2 if getattr(block, "downsamplers", None) else 1
    if unet.mid_block is not None:
        levels["mid_block"] = ("mid", factor)
    for index, block in enumerate(unet.up_blocks):
        levels[f"up_blocks.{index}"] = ("up", factor)
        factor //= 2 if getattr(block, "upsamplers", None) else 1
    return levels


def semantic_layer(unet: nn.Module) -> AttentionLayer:
    """Return the decoder's last self-attention at its coarsest resolution.

    Of Stable Diffusion ``up_blocks.1.attentions.2``, which DiCLIP reads: 10 x 10
    tokens at 320 x 320 pixels.
    """
    layers = _of_the_decoder(unet)
    coarsest = max(layer.factor for layer in layers)
    return [layer for layer in layers if layer.factor == coarsest][-1]


def fine_layer(unet: nn.Module) -> AttentionLayer:
    """Return the middle one of the decoder's self-attentions at its finest resolution.

    Of Stable Diffusion ``up_blocks.3.attentions.1``, which has 40 x 40 tokens at
    320 x 320 pixels.
    """
    layers = _of_the_decoder(unet)
    finest = min(layer.factor for layer in layers)
    same = [layer for layer in layers if layer.factor == finest]
    return same[(len(same) - 1) // 2]


def _of_the_decoder(unet: nn.Module) -> list[AttentionLayer]:
    layers = [layer for layer in attention_layers(unet) if layer.side == "up"]
    if not layers:
        raise UserError(
            "this U-Net attends to itself nowhere in its decoder; name a layer"
        )
    return layers


def find_layers(unet: nn.Module, names: Sequence[str]) -> list[AttentionLayer]:
    """Find attentions by the names of their modules, or by their beginnings.

    ``up_blocks.1.attentions.2`` is the last self-attention in there.

    Raises
    ------
    UserError
        There is none of that name; the message tells the nearest one.
    """
    own, text = attention_layers(unet), attention_layers(unet, cross=True)
    found = []
    for name in names:
        whole = [layer for layer in (*own, *text) if layer.name == name]
        below = [layer for layer in own if layer.name.startswith(f"{name}.")]
        if not whole and not below:
            known = [layer.name for layer in (*own, *text)]
            hint = nearest(name, known) or f"; there are, such as, {known[:1]}"
            raise UserError(f"this U-Net has no attention {name!r}{hint}")
        found.append((whole or below)[-1])
    return found


class _AllRead(Exception):
    """The last layer that was asked for has been read."""


@torch.no_grad()
def read_attention(
    unet: nn.Module,
    latents: Tensor,
    t: Tensor,
    context: Tensor,
    layers: Sequence[AttentionLayer],
    *,
    conditions: Mapping[str, Any] | None = None,
) -> list[AttentionRead]:
    """Run a U-Net once and read the queries and keys of some of its layers.

    Parameters
    ----------
    unet : UNet2DConditionModel
        Left as it was, whatever happens.
    latents : (B, Z, y, x) Tensor
        Noisy latents, of any extents that the U-Net can be run at.
    t : (B,) Tensor
        Timesteps.
    context : (B, L, C) Tensor
        Embedding of the text.
    layers : sequence of AttentionLayer
        From `attention_layers`, `find_layers`, `semantic_layer` or `fine_layer`.
    conditions : mapping, optional
        What a U-Net of another kind wants beside, such as ``added_cond_kwargs``.

    Returns
    -------
    list of AttentionRead
        One a layer, in the order of `layers`.
    """
    kind = next(unet.parameters()).dtype
    read: dict[str, AttentionRead] = {}
    with _watching(unet, layers, read), suppress(_AllRead):
        unet(latents.to(kind), t, context.to(kind), **(conditions or {}))
    return [read[layer.name] for layer in layers]


@contextmanager
def _watching(
    unet: nn.Module, layers: Sequence[AttentionLayer], read: dict[str, AttentionRead]
) -> Iterator[None]:
    """Fill `read` while the U-Net runs."""
    grids: dict[str, tuple[int, int]] = {}
    wanted = {layer.name: layer for layer in layers}
    hooks = []
    try:
        for outer in {name.split(_INNER)[0] for name in wanted}:
            hook = _grid_hook(outer, grids)
            module = unet.get_submodule(outer)
            hooks.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        for layer in wanted.values():
            look = _read_hook(layer, grids, read, len(wanted))
            module = unet.get_submodule(layer.name)
            hooks.append(module.register_forward_pre_hook(look, with_kwargs=True))
        yield
    finally:
        for handle in hooks:
            handle.remove()


Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]


def _grid_hook(outer: str, grids: dict[str, tuple[int, int]]) -> Hook:
    def look(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        field: Tensor = args[0] if args else named["hidden_states"]
        grids[outer] = (field.shape[2], field.shape[3])

    return look


def _read_hook(
    layer: AttentionLayer,
    grids: dict[str, tuple[int, int]],
    read: dict[str, AttentionRead],
    count: int,
) -> Hook:
    def look(module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        tokens: Tensor = args[0] if args else named["hidden_states"]
        others = args[1] if len(args) > 1 else named.get("encoder_hidden_states")
        if others is None:
            others = tokens
        elif module.norm_cross:
            others = module.norm_encoder_hidden_states(others)
        query = _heads(module.to_q(tokens), module.heads)
        key = _heads(module.to_k(others), module.heads)
        if module.norm_q is not None:
            query = module.norm_q(query)
        if module.norm_k is not None:
            key = module.norm_k(key)
        grid = grids[layer.name.split(_INNER)[0]]
        assert math.prod(grid) == query.shape[2]
        read[layer.name] = AttentionRead(layer, query, key, grid, float(module.scale))
        if len(read) == count:
            raise _AllRead

    return look


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """Tokens (B, N, H d) -> (B, H, N, d)."""
    batch, count, width = tokens.shape
    return tokens.reshape(batch, count, heads, width // heads).transpose(1, 2)
