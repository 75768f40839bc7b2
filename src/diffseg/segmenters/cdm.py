"""`cdm`: masks from how an image changes under another condition, or towards health.

The baselines that CLDF is held against: the perturbed condition of Hu et al. 2023 and
the classifier-guided anomaly map of Wolleb et al. 2022, as the network's `kind` says.
Members differ in their noise; each is parted by Otsu's threshold, slice by slice.
"""

from __future__ import annotations

from typing import cast

from diffseg.diffusion import schedule_of
from diffseg.domain import Proposal, Request
from diffseg.errors import UserError
from diffseg.networks.cdm import Cdm
from diffseg.progress import Work
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.pipeline import iter_propose_with
from diffseg.segmenters.source import MemberSource
from diffseg.segmenters.weak.changing import by_change
from diffseg.segmenters.weak.fitting import check_slices, said_of
from diffseg.segmenters.weak.looking import States
from diffseg.segmenters.weak.members import WeakMembers
from diffseg.segmenters.weak.thresholds import Threshold


class CDM(NetworkSegmenter):
    """A segmenter by maps of changes with its weights, on a device."""

    __slots__ = ()

    def source(
        self, *, block_voxels: int = BLOCK_VOXELS, said: States | None = None
    ) -> MemberSource:
        """Return what draws the members of one request; see `CLDF.source`."""
        card, network = self.card, cast("object", self.network)
        if not isinstance(network, Cdm):
            raise UserError(
                f"model {card.id} (method {card.method}) needs network cdm, not "
                f"{card.network.get('name')}"
            )
        check_slices(card, network.classes, (*network.timesteps, network.level))
        kind, schedule = card.sampling.prediction, schedule_of(card.sampling)
        if kind == "classes" or (kind == "eps" and schedule.alpha_bar[-1] == 0):
            raise UserError(
                f"model {card.id}: give sampling.prediction eps, v or x0, and with eps "
                "a schedule that does not end in noise alone"
            )
        return WeakMembers(
            network,
            card,
            self.device,
            by_change(kind, Threshold(kind="otsu")),
            said=said,
            block_voxels=block_voxels,
        )

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""
        source = self.source(said=said_of(request, self.card))
        return iter_propose_with(self.card, source, request, self.host)
