"""`segdiff`: an ensemble of draws from a diffusion model with an encoded image.

After Amit et al. 2021 (SegDiff). As published: the noise of a binary mask in
{-1, 1}, 100 ancestral steps with the large fixed variance, estimates not clipped on
the way, ``(x + 1) / 2`` clamped at the end, and the mean of the members (9 in the
public code, 25 in the analysis paper). All of it stands on the card; what differs from
`ensemdiff` is that the image is encoded by a network of its own, which does not see the
noise level: once for all members and steps.
"""

from __future__ import annotations

from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.source import MemberSource


class SegDiff(NetworkSegmenter):
    """A SegDiff model with its weights, on a device."""

    __slots__ = ()

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request."""
        return Ensemble(self.network, self.card, self.device, block_voxels=block_voxels)
