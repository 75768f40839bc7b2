"""`cldf`: masks by a model that learnt from image-level labels alone.

Zeng et al. 2025: features of a diffusion model, a pixel decoder that a contrastive loss
taught, and K-means. Where a class is said to be absent nothing is looked for; where
nothing is said, the noisy classifier decides slice by slice.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from diffseg.diffusion import schedule_of
from diffseg.domain import Proposal, Request
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.networks.cldf import Cldf
from diffseg.progress import Work
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.pipeline import iter_propose_with
from diffseg.segmenters.source import MemberSource
from diffseg.segmenters.weak.looking import States
from diffseg.segmenters.weak.members import CldfMembers


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
            What is known of the slices; see `CldfMembers`.

        Raises
        ------
        UserError
            The network or the card is none of this method's.
        """
        network = checked(self)
        return CldfMembers(
            network, self.card, self.device, said=said, block_voxels=block_voxels
        )

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""
        source = self.source(said=said_of(request, self.card.labels.names))
        return iter_propose_with(self.card, source, request, self.host)


def said_of(request: Request, names: tuple[str, ...]) -> States:
    """What a request says of every slice of its image, (K,) uint8.

    That a class is present in a volume says so of no slice in particular.
    """
    planes = request.volume.shape[0]
    labels = SliceLabels.of_image(request.labels, names, planes)
    return np.array(labels.states[0])


def checked(segmenter: NetworkSegmenter) -> Cldf:
    """Return the network, if it and its card are of this method.

    Raises
    ------
    UserError
        They are not.
    """
    card, network = segmenter.card, cast("object", segmenter.network)
    what = f"model {card.id} (method {card.method})"
    if not isinstance(network, Cldf):
        raise UserError(f"{what} needs network cldf, not {card.network.get('name')}")
    if network.classes != len(card.labels):
        raise UserError(
            f"{what}: its network has {network.classes} foreground classes, its card "
            f"{len(card.labels)}; set network.classes"
        )
    preparation = card.preparation
    if preparation.dims != 2 or preparation.tile is not None:
        raise UserError(
            f"{what} sees whole slices: give preparation.dims 2 and no tile"
        )
    most = schedule_of(card.sampling).timesteps
    if max(network.timesteps) >= most:
        raise UserError(
            f"{what} looks at timestep {max(network.timesteps)}, its schedule has "
            f"{most}; give timesteps of 0 to {most - 1}"
        )
    return network
