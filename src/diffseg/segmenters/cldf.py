"""`cldf`: masks by a model that learnt from image-level labels alone.

Zeng et al. 2025: features of a diffusion model, a pixel decoder that a contrastive loss
taught, and K-means. Where a class is said to be absent nothing is looked for; where
nothing is said, the noisy classifier decides slice by slice.
"""

from __future__ import annotations

from typing import cast

from diffseg.domain import Proposal, Request
from diffseg.errors import UserError
from diffseg.networks.cldf import Cldf
from diffseg.progress import Work
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.pipeline import iter_propose_with
from diffseg.segmenters.source import MemberSource
from diffseg.segmenters.weak.embedding import by_embedding
from diffseg.segmenters.weak.fitting import check_slices, said_of
from diffseg.segmenters.weak.looking import States
from diffseg.segmenters.weak.members import WeakMembers


class CLDF(NetworkSegmenter):
    """A CLDF segmenter with its weights, on a device."""

    __slots__ = ()

    def source(
        self, *, block_voxels: int = BLOCK_VOXELS, said: States | None = None
    ) -> MemberSource:
        """Return what draws the members of one request.

        Parameters
        ----------
        block_voxels : int
            Of the slices that are finished together.
        said : (K,) or (Z, K) uint8 ndarray, optional
            What is known of the slices; see `WeakMembers`.

        Raises
        ------
        UserError
            The network or the card is none of this method's.
        """
        card, network = self.card, cast("object", self.network)
        if not isinstance(network, Cldf):
            raise UserError(
                f"model {card.id} (method {card.method}) needs network cldf, not "
                f"{card.network.get('name')}"
            )
        check_slices(card, network.classes, network.timesteps)
        return WeakMembers(
            network,
            card,
            self.device,
            by_embedding,
            said=said,
            block_voxels=block_voxels,
        )

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""
        source = self.source(said=said_of(request, self.card))
        return iter_propose_with(self.card, source, request, self.host)
