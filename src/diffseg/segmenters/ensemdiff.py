"""`ensemdiff`: an ensemble of draws from a diffusion model that sees the image.

After Wolleb et al. 2022 (implicit image segmentation ensembles), in a compact
configuration: the network predicts x0 of one-hot masks instead of the noise of
binary ones, and answers in one or a few steps.
"""

from __future__ import annotations

from diffseg.segmenters.compact import CompactSegmenter
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.source import MemberSource


class EnsemDiff(CompactSegmenter):
    """A diffusion segmenter with its weights, on a device."""

    __slots__ = ()

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request."""
        return Ensemble(self.network, self.card, self.device, block_voxels=block_voxels)
