"""Image towers of CLIP, taken apart: what happens within a block, token by token.

open_clip's own vision transformer, and timm's within open_clip's adapter, such as
BiomedCLIP's. Embedding, blocks and end do, operation by operation, what the tower's
own forward pass does, so that the answer is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError

Heads = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values, each (B, H, T, d)."""


class Tower(Protocol):
    """A vision transformer whose blocks can be asked for their parts.

    T tokens are `prefix` tokens, the class token first, and N patches row by row.
    """

    @property
    def prefix(self) -> int:
        """Tokens before the patches: the class token, and registers."""
        ...

    @property
    def patch(self) -> tuple[int, int]:
        """Pixels of a patch (y, x)."""
        ...

    @property
    def depth(self) -> int:
        """Number of blocks."""
        ...

    def embedded(self, image: Tensor) -> Tensor:
        """Tokens (B, T, D) of images (B, 3, Y, X), as the first block sees them."""
        ...

    def block(self, index: int, tokens: Tensor) -> Tensor:
        """Run a whole block, as the tower itself does; (B, T, D) to (B, T, D)."""
        ...

    def heads(self, index: int, tokens: Tensor) -> Heads:
        """Queries, keys and values of a block for its input tokens (B, T, D)."""
        ...

    def joined(self, index: int, values: Tensor) -> Tensor:
        """What a block's attention adds: weighted values (B, H, T, d) to (B, T, D)."""
        ...

    def mlp(self, index: int, tokens: Tensor) -> Tensor:
        """What a block's MLP adds to tokens (B, T, D)."""
        ...

    def finished(self, tokens: Tensor) -> Tensor:
        """Last normalisation and projection: (B, T, D) to (B, T, E)."""
        ...


def tower_of(visual: nn.Module) -> Tower:
    """Take the image tower of an open_clip model apart.

    Parameters
    ----------
    visual : Module
        ``model.visual``: open_clip's `VisionTransformer`, or its `TimmModel` around
        timm's.

    Raises
    ------
    UserError
        It is no vision transformer, has no class token of its own, or blocks of
        another make.
    """
    from open_clip.timm_model import TimmModel  # type: ignore[import-untyped]
    from open_clip.transformer import (  # type: ignore[import-untyped]
        VisionTransformer,
    )

    if isinstance(visual, VisionTransformer):
        return _open_clip(visual)
    if isinstance(visual, TimmModel):
        return _timm(visual)
    raise _unsupported(f"a {type(visual).__name__}, which has no patch tokens")


def resized_positions(
    positions: Tensor, prefix: int, old: tuple[int, int], new: tuple[int, int]
) -> Tensor:
    """Resize an embedding of positions to another grid, bilinearly.

    Parameters
    ----------
    positions : (prefix + n, D) Tensor
    prefix : int
        Leading rows that belong to no patch; they are kept.
    old, new : (int, int)
        Grids (y, x); the same one changes nothing.

    Returns
    -------
    (prefix + N, D) Tensor
    """
    if old == new:
        return positions
    first, patches = positions[:prefix], positions[prefix:]
    field = patches.float().T.reshape(1, -1, *old)
    resized = functional.interpolate(field, new, mode="bilinear", align_corners=False)
    return torch.cat([first, resized[0].flatten(1).T.to(positions.dtype)])


def _unsupported(what: str) -> UserError:
    return UserError(
        f"the image tower is {what}; give a CLIP whose image tower is a plain vision "
        "transformer with a class token, such as ViT-B-16"
    )


def _split(tokens: Tensor, count: int) -> Tensor:
    """Bring tokens (B, T, H d) into heads (B, H, T, d)."""
    batch, length, width = tokens.shape
    return tokens.view(batch, length, count, width // count).transpose(1, 2)


def _merged(values: Tensor) -> Tensor:
    """Undo `_split`."""
    return values.transpose(1, 2).flatten(2)


def _patches(proj: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    found = proj(image)
    return found.reshape(*found.shape[:2], -1).permute(0, 2, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _OpenClipTower:
    """open_clip's own vision transformer."""

    visual: Any
    patch: tuple[int, int]
    prefix: int = 1

    @property
    def depth(self) -> int:
        return len(self.visual.transformer.resblocks)

    def embedded(self, image: Tensor) -> Tensor:
        net = self.visual
        grid = (image.shape[2] // self.patch[0], image.shape[3] // self.patch[1])
        x = _patches(net.conv1, image)
        first = net.class_embedding.view(1, 1, -1).expand(len(x), -1, -1).to(x.dtype)
        places = resized_positions(net.positional_embedding, 1, net.grid_size, grid)
        x = torch.cat([first, x], dim=1) + places.to(x.dtype)
        found: Tensor = net.ln_pre(x)
        return found

    def block(self, index: int, tokens: Tensor) -> Tensor:
        transformer = self.visual.transformer
        first = getattr(transformer, "batch_first", False)
        x = tokens if first else tokens.transpose(0, 1)
        x = transformer.resblocks[index](x)
        found: Tensor = x if first else x.transpose(0, 1)
        return found

    def heads(self, index: int, tokens: Tensor) -> Heads:
        block = self.visual.transformer.resblocks[index]
        inner = block.attn
        mixed = functional.linear(
            block.ln_1(tokens), inner.in_proj_weight, inner.in_proj_bias
        )
        q, k, v = (_split(part, inner.num_heads) for part in mixed.chunk(3, dim=-1))
        return q, k, v

    def joined(self, index: int, values: Tensor) -> Tensor:
        block = self.visual.transformer.resblocks[index]
        found: Tensor = block.ls_1(block.attn.out_proj(_merged(values)))
        return found

    def mlp(self, index: int, tokens: Tensor) -> Tensor:
        block = self.visual.transformer.resblocks[index]
        found: Tensor = block.ls_2(block.mlp(block.ln_2(tokens)))
        return found

    def finished(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.visual.ln_post(tokens)
        return x if self.visual.proj is None else x @ self.visual.proj


def _open_clip(visual: Any) -> Tower:
    from open_clip.transformer import ResidualAttentionBlock

    if visual.attn_pool is not None or visual.pool_type != "tok":
        raise _unsupported("pooled otherwise than by its class token")
    if any(type(b) is not ResidualAttentionBlock for b in visual.transformer.resblocks):
        raise _unsupported("made of blocks other than CLIP's")
    patch_y, patch_x = visual.patch_size
    return _OpenClipTower(visual, (int(patch_y), int(patch_x)))


@dataclass(frozen=True, slots=True, eq=False)
class _TimmTower:
    """timm's vision transformer within open_clip's adapter."""

    adapter: Any
    patch: tuple[int, int]

    @property
    def prefix(self) -> int:
        return int(self.adapter.trunk.num_prefix_tokens)

    @property
    def depth(self) -> int:
        return len(self.adapter.trunk.blocks)

    def embedded(self, image: Tensor) -> Tensor:
        net = self.adapter.trunk
        grid = (image.shape[2] // self.patch[0], image.shape[3] // self.patch[1])
        x = net.patch_embed.norm(_patches(net.patch_embed.proj, image))
        own = 0 if net.no_embed_class else self.prefix
        places = resized_positions(
            net.pos_embed[0], own, net.patch_embed.grid_size, grid
        )
        first = [
            token.expand(len(x), -1, -1)
            for token in (net.cls_token, net.reg_token)
            if token is not None
        ]
        if net.no_embed_class:
            x = torch.cat([*first, x + places], dim=1)
        else:
            x = torch.cat([*first, x], dim=1) + places
        found: Tensor = net.norm_pre(x)
        return found

    def block(self, index: int, tokens: Tensor) -> Tensor:
        found: Tensor = self.adapter.trunk.blocks[index](tokens)
        return found

    def heads(self, index: int, tokens: Tensor) -> Heads:
        block = self.adapter.trunk.blocks[index]
        mixed = block.attn.qkv(block.norm1(tokens))
        q, k, v = (
            _split(part, block.attn.num_heads) for part in mixed.chunk(3, dim=-1)
        )
        return block.attn.q_norm(q), block.attn.k_norm(k), v

    def joined(self, index: int, values: Tensor) -> Tensor:
        block = self.adapter.trunk.blocks[index]
        x = _merged(values)
        norm = getattr(block.attn, "norm", None)  # timm's of old have none
        found: Tensor = block.ls1(block.attn.proj(x if norm is None else norm(x)))
        return found

    def mlp(self, index: int, tokens: Tensor) -> Tensor:
        block = self.adapter.trunk.blocks[index]
        found: Tensor = block.ls2(block.mlp(block.norm2(tokens)))
        return found

    def finished(self, tokens: Tensor) -> Tensor:
        net = self.adapter.trunk
        found: Tensor = self.adapter.head(net.head(net.fc_norm(net.norm(tokens))))
        return found


def _timm(adapter: Any) -> Tower:
    from timm.models import vision_transformer as theirs

    attention: Any = theirs.__dict__["Attention"]
    if not isinstance(adapter.trunk, theirs.VisionTransformer):
        raise _unsupported(f"timm's {type(adapter.trunk).__name__}")
    net: Any = adapter.trunk
    if net.attn_pool is not None or net.global_pool != "token":
        raise _unsupported("pooled otherwise than by its class token")
    if net.cls_token is None or net.pos_embed is None:
        raise _unsupported("without class token or positions")
    if any(
        type(block) is not theirs.Block
        or type(block.attn) is not attention
        or getattr(block.attn, "gate", None) is not None
        for block in net.blocks
    ):
        raise _unsupported("made of blocks other than CLIP's")
    patch_y, patch_x = net.patch_embed.patch_size
    return _TimmTower(adapter, (int(patch_y), int(patch_x)))
