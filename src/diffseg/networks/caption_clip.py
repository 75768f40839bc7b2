"""A small CLIP: a vision transformer and a text transformer of open_clip.

Radford et al. 2021, at a size that learns on a laptop. The network is open_clip's own
module, built from the configuration that open_clip writes beside weights, so that what
is learnt is read by open_clip as any other CLIP is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD, END = 0, 3
"""Tokens that fill a text up, and that its meaning is read from."""
_HOTTEST = 100.0  # largest scale of the cosines, as in the paper


class CaptionClip(nn.Module):
    """Images and token indices to one space.

    Parameters
    ----------
    size : int
        Pixels along a side of an image.
    patch : int
        Pixels along a side of a patch; divides `size`.
    width, layers : int
        Of the image tower; heads are 32 wide.
    text_width, text_layers : int
        Of the text tower; heads are 32 wide.
    vocabulary : int
        Tokens there are.
    context : int
        Tokens L of a text.
    embedding : int
        Width E of the shared space.
    """

    dims = 2

    def __init__(
        self,
        size: int = 128,
        patch: int = 16,
        width: int = 192,
        layers: int = 6,
        text_width: int = 128,
        text_layers: int = 4,
        vocabulary: int = 128,
        context: int = 40,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        for name, value, unit in (
            ("size", size, patch),
            ("width", width, 32),
            ("text_width", text_width, 32),
        ):
            if value % unit:
                raise TypeError(f"{name} is {value}; give a multiple of {unit}")
        from open_clip.model import CustomTextCLIP  # type: ignore[import-untyped]

        self.config: dict[str, Any] = {
            "embed_dim": embedding,
            "vision_cfg": {
                "image_size": size,
                "patch_size": patch,
                "width": width,
                "layers": layers,
                "head_width": 32,
            },
            "text_cfg": {
                "context_length": context,
                "vocab_size": vocabulary,
                "width": text_width,
                "heads": text_width // 32,
                "layers": text_layers,
                "pad_id": PAD,
                "eos_id": END,
                "pool_type": "eos",
            },
        }
        self.size, self.vocabulary, self.context = size, vocabulary, context
        self.clip: Any = CustomTextCLIP(**self.config)

    @property
    def multiple(self) -> int:
        """Extents of an image are this."""
        return self.size

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by, at most 100."""
        found: Tensor = self.clip.logit_scale.exp().clamp(max=_HOTTEST)
        return found

    def embedded_images(self, image: Tensor) -> Tensor:
        """Embeddings (B, E) of length 1 of images (B, 3, Y, X) in [-1, 1]."""
        found: Tensor = self.clip.encode_image(image)
        return functional.normalize(found.float(), dim=1)

    def embedded_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings (n, E) of length 1 of token indices (n, L)."""
        found: Tensor = self.clip.encode_text(tokens)
        return functional.normalize(found.float(), dim=1)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Scaled cosines (B, n) of images (B, 3, Y, X) and texts (n, L)."""
        cosines = self.embedded_images(image) @ self.embedded_texts(tokens).T
        return torch.mul(cosines, self.scale)


def build(**config: object) -> CaptionClip:
    """Build a `CaptionClip`."""
    return CaptionClip(**config)  # type: ignore[arg-type]
