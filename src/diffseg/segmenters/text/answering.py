"""From what was seen of a slice, and words, to probabilities of classes.

Patch-text similarity, what a cache or its adapter retrieves, refinements to pixels; or
a trained head, which needs no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.domain.diclip import DiclipConfig
from diffseg.networks.cache_adapter import CacheAdapter
from diffseg.networks.diclip_head import DiclipHead
from diffseg.segmenters.refining.neighbours import ring_offsets
from diffseg.segmenters.refining.pixels import (
    DILATIONS,
    pixel_affinity,
    refine_by_pixels,
)
from diffseg.segmenters.text.affinity import affinity_refined, symmetric_affinity
from diffseg.segmenters.text.crf import refine_by_field
from diffseg.segmenters.text.diffusion_refinement import refine_by_attention
from diffseg.segmenters.text.feature_store import content_of
from diffseg.segmenters.text.prompts import TextEmbeddings
from diffseg.segmenters.text.pseudo_masks import with_background
from diffseg.segmenters.text.retrieval import (
    Memory,
    answered,
    branches,
    fused,
    static_scores,
)
from diffseg.segmenters.text.seen import Seen, fitting_size
from diffseg.segmenters.text.similarity import cosine_cam, min_max, surgery_cam


@dataclass(frozen=True, slots=True, eq=False)
class Answerer:
    """What answers, beside the backbones.

    Parameters
    ----------
    config : DiclipConfig
    memory : Memory, optional
        A cache of keys.
    adapter : CacheAdapter, optional
        Which has taken the cache's place.
    head : DiclipHead, optional
    """

    config: DiclipConfig
    memory: Memory | None = None
    adapter: CacheAdapter | None = None
    head: DiclipHead | None = None
    _last: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def text_maps(self, seen: Seen, texts: TextEmbeddings) -> Tensor:
        """Similarity of patches and texts (1, N, T) in [0, 1], T classes with words."""
        place, patches = seen.patches.device, seen.patches
        if self.config.similarity == "cosine":
            return cosine_cam(patches, texts.foreground.to(place))
        every = texts.texts.to(place)
        return surgery_cam(patches, seen.class_token, every, len(texts.names))

    def retrieved_scores(self, seen: Seen) -> Tensor | None:
        """What cache or adapter say (1, N, K + 1), background first; None: no such."""
        config = self.config
        if self.adapter is not None:
            found: Tensor = self.adapter(seen.patches, seen.class_token)
            return found
        if self.memory is None:
            return None
        return static_scores(
            self.memory,
            seen.patches,
            seen.class_token,
            activation=config.activation,
            sharpness=config.sharpness,
        )

    def class_maps(
        self, seen: Seen, texts: TextEmbeddings, indices: Sequence[int]
    ) -> Tensor:
        """Maps (1, N, T) in [0, 1] of texts and cache together.

        Parameters
        ----------
        seen : Seen
        texts : TextEmbeddings
            Of T classes.
        indices : sequence of T int
            Which of the model's classes they are.
        """
        cam = self.text_maps(seen, texts)
        scores = self.retrieved_scores(seen)
        if scores is None:
            return cam
        config = self.config
        learnt = self.adapter is not None
        maps = (
            answered(scores) if learnt else branches(scores, negative=config.negative)
        )
        return fused(maps[..., list(indices)], cam, config.cache_weight)

    @torch.no_grad()
    def by_maps(
        self,
        image: Tensor,
        seen: Seen,
        texts: TextEmbeddings,
        indices: Sequence[int],
        wanted: Sequence[int],
    ) -> Tensor:
        """Probabilities (1, 1 + W, Y, X) of background and of W wanted classes.

        Parameters
        ----------
        image : (C, Y, X) Tensor
            In [0, 1].
        seen : Seen
        texts, indices
            See `class_maps`.
        wanted : sequence of W int
            Some of `indices`, in order.
        """
        maps = self.class_maps(seen, texts, indices)
        maps = maps[..., [list(indices).index(one) for one in wanted]]
        extent = (image.shape[1], image.shape[2])
        size = self._fine_size(extent)
        if "affinity" in self.config.refinement:
            maps = self._by_affinity(maps, seen)
        fields = maps.transpose(1, 2).reshape(1, len(wanted), *seen.grid)
        if "diffusion" in self.config.refinement:
            assert seen.fine is not None
            assert seen.fine_grid is not None
            fields = refine_by_attention(
                fields, seen.fine, seen.fine_grid, size, iterations=self.config.walk
            )
        every = fields.new_ones(1, len(wanted), dtype=torch.bool)
        with_rest = with_background(_resized(fields, size), every)
        shares = with_rest / with_rest.sum(1, keepdim=True)
        return self._by_pixels(shares, image, extent)

    @torch.no_grad()
    def by_head(self, image: Tensor, seen: Seen, wanted: Sequence[int]) -> Tensor:
        """Probabilities (1, 1 + W, Y, X) as the trained head has them."""
        assert self.head is not None
        logits = self.head(seen.raw, seen.grid).logits
        logits = logits[:, [0, *(1 + index for index in wanted)]]
        extent = (image.shape[1], image.shape[2])
        shares = _resized(logits, self._fine_size(extent)).softmax(1)
        return self._by_pixels(shares, image, extent)

    def _fine_size(self, extent: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns at which maps are refined: the image's, up to a limit."""
        side = min(self.config.fine_side, max(extent))
        return fitting_size(extent, side, (1, 1))

    def _by_affinity(self, maps: Tensor, seen: Seen) -> Tensor:
        assert seen.affinity is not None
        spread = affinity_refined(
            maps,
            symmetric_affinity(seen.affinity),
            seen.grid,
            self.config.box_threshold,
        )
        return min_max(spread)

    def _affinity(self, colours: Tensor) -> Tensor:
        """Affinity of an image's pixels, which its members share."""
        name = content_of(colours)
        if name not in self._last:
            self._last.clear()
            self._last[name] = pixel_affinity(colours, ring_offsets(DILATIONS))
        return self._last[name]

    def _by_pixels(
        self, shares: Tensor, image: Tensor, extent: tuple[int, int]
    ) -> Tensor:
        """Spread probabilities over pixels, and bring them to the image's size."""
        size = (shares.shape[2], shares.shape[3])
        colours = _resized(image[None].to(shares.device), size)
        if "pixels" in self.config.refinement:
            shares = refine_by_pixels(shares, colours, weights=self._affinity(colours))
        if "field" in self.config.refinement:
            shares = refine_by_field(shares, colours)
        shares = _resized(shares, extent)
        return shares / shares.sum(1, keepdim=True)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)
