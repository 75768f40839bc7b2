"""What of a DiCLIP learns: an adapter that began as a cache, and a segmentation head.

Both stand upon features of frozen backbones, which are no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from diffseg.networks.cache_adapter import CacheAdapter
from diffseg.networks.diclip_head import DiclipHead, HeadAnswer


class DiclipLearner(nn.Module):
    """Adapter and head, which learn in a single stage.

    Parameters
    ----------
    adapter, head : mapping
        What `CacheAdapter` and `DiclipHead` take.

    Raises
    ------
    TypeError
        The two are of another number of classes.
    """

    dims, multiple = 2, 1

    def __init__(
        self,
        adapter: Mapping[str, Any] | None = None,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.adapter = CacheAdapter(**(adapter or {}))
        self.head = DiclipHead(**(head or {}))
        if self.adapter.classes != self.head.classes:
            raise TypeError(
                f"adapter of {self.adapter.classes} classes, head of "
                f"{self.head.classes}; give both the same"
            )
        self.classes = self.head.classes

    def forward(
        self,
        patches: Tensor,
        class_token: Tensor,
        raw: Sequence[Tensor],
        grid: tuple[int, int],
    ) -> tuple[Tensor, HeadAnswer]:
        """Logits (B, N, K + 1) of the adapter, and what the head answers.

        Parameters
        ----------
        patches : (B, N, E) Tensor
            Projected patches of the enhanced stream.
        class_token : (B, E) Tensor
        raw : sequence of (B, N, D) Tensor
            Patches after each block of the plain stream.
        grid : (y, x)
            Patches; y x is N.
        """
        return self.adapter(patches, class_token), self.head(raw, grid)


def build(**config: Any) -> DiclipLearner:
    """Build a `DiclipLearner`."""
    return DiclipLearner(**config)
