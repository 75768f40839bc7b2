"""`ensemdiff`: an ensemble of draws from a diffusion model that sees the image.

After Wolleb et al. 2022 (implicit image segmentation ensembles). As published: the
noise of a binary mask in {0, 1}, its variance learned, all 1000 ancestral steps, the
mean of five members. In the compact configuration: x0 of one-hot masks, answered in
one or a few steps. Which of them it is, the card's sampling and network say.

The public code clips estimates to [-1, 1]; we clip to the mask's own range, unless the
card's `clip_range` says otherwise.
"""

from __future__ import annotations

from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.source import MemberSource


class EnsemDiff(NetworkSegmenter):
    """A diffusion segmenter with its weights, on a device."""

    __slots__ = ()

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request."""
        return Ensemble(self.network, self.card, self.device, block_voxels=block_voxels)
