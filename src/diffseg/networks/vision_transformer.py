"""A vision transformer of any size, timm's own, to be trained as a teacher.

Its state bears timm's names, so that what is trained here is loaded as any other
teacher of timm's. Called with an image it gives the patch tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class PatchTokens(nn.Module):
    """A vision transformer, as its patch tokens.

    Parameters
    ----------
    size : int
        Pixels of an image's side, as it is trained.
    patch : int
        Pixels of a patch's side; divides `size`.
    width, depth, heads : int
        Length of a token, number of blocks, and heads of each.
    """

    dims = 2

    def __init__(
        self,
        size: int = 112,
        patch: int = 14,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
    ) -> None:
        super().__init__()
        if size % patch or width % heads:
            raise TypeError(
                f"patch {patch} and heads {heads} must divide size {size} and width "
                f"{width}"
            )
        self.tower = VisionTransformer(
            img_size=size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            num_classes=0,
        )
        self.patch, self.width = patch, width
        self.grid = (size // patch, size // patch)

    def resized(self, grid: tuple[int, int]) -> None:
        """Look at as many patches (y, x); the embedding of places is resampled."""
        if grid != self.grid:
            sides = (grid[0] * self.patch, grid[1] * self.patch)
            self.tower.set_input_size(sides)
            self.grid = grid

    def embedded(self, image: Tensor) -> Tensor:
        """Patches (B, N, D) of images (B, 3, Y, X), before they know their places."""
        patches: Tensor = self.tower.patch_embed(image)
        return patches

    def transformed(self, patches: Tensor) -> Tensor:
        """Patch tokens (B, N, D), row by row, of embedded patches."""
        tower = self.tower
        assert tower.cls_token is not None
        assert tower.pos_embed is not None
        first = tower.cls_token.expand(len(patches), -1, -1)
        x = torch.cat([first, patches], dim=1) + tower.pos_embed
        tokens: Tensor = tower.norm(tower.blocks(x))
        return tokens[:, 1:]

    def forward(self, image: Tensor) -> Tensor:
        """Patch tokens (B, N, D), row by row, of images (B, 3, Y, X)."""
        return self.transformed(self.embedded(image))


def build(**config: Any) -> PatchTokens:
    """Build a `PatchTokens`."""
    return PatchTokens(**config)
