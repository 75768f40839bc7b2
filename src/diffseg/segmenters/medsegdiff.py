"""`medsegdiff`: a diffusion model whose condition network has a mask of its own.

After Wu et al. 2022 (MedSegDiff). As published: the noise of a binary mask in {0, 1},
its variance learned, 1000 steps, and STAPLE over the members. The card's `consensus`
chooses among STAPLE, the mean, and what the public code calls staple: the square of
the mean.

The public code of version 1 further mixes each sample with the condition network's own
mask at the last step, the calibration; the card's `mix_calibration` does so too.
"""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned, Features
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.source import MemberSource

# Below this Dice the calibration counts more than the sample.
_ALIKE = 0.65


@runtime_checkable
class Calibrated(Protocol):
    """A network that has a mask of its own, which may depend on the step."""

    def denoise_calibrated(
        self, noisy: Tensor, timesteps: Tensor, features: Features
    ) -> tuple[Tensor, Tensor]:
        """What `denoise` answers, and the network's own mask (B, M, *S) in (0, 1)."""
        ...


class MedSegDiff(NetworkSegmenter):
    """A MedSegDiff model with its weights, on a device."""

    __slots__ = ()

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request."""
        self._check_size()
        if not self.card.sampling.mix_calibration:
            return Ensemble(
                self.network, self.card, self.device, block_voxels=block_voxels
            )
        if not isinstance(self.network, Calibrated):
            raise UserError(
                f"model {self.card.id}: mix_calibration is set, but its network has "
                "no mask of its own"
            )
        both = cast("Conditioned", WithCalibration(self.network))
        return Ensemble(
            both, self.card, self.device, block_voxels=block_voxels, finish=mixed
        )

    def _check_size(self) -> None:
        """Refuse images of a size that the first form's filters are not made for."""
        side = getattr(self.network, "image_size", None)
        if side is None:
            return
        square, preparation = (side, side), self.card.preparation
        size, tile = preparation.size, preparation.tile
        if size == square or (
            size is not None and min(size) >= side and tile == square
        ):
            return
        raise UserError(
            f"model {self.card.id}: its network is made for {side} x {side} "
            f"pixels: its card's preparation must have size {side}, {side}, or a "
            "larger one and tiles of that size"
        )


class WithCalibration(nn.Module):
    """A network that puts its own mask out too, after all other channels."""

    def __init__(self, network: Calibrated) -> None:
        super().__init__()
        self.network = cast("nn.Module", network)
        conditioned = cast("Conditioned", network)
        self.dims, self.multiple = conditioned.dims, conditioned.multiple
        self.mask_channels = conditioned.mask_channels
        self.learned_variance = conditioned.learned_variance

    def encode(self, image: Tensor) -> Features:
        """What the image (B, C, *S) says."""
        return cast("Conditioned", self.network).encode(image)

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Features) -> Tensor:
        """The network's answer and, after it, its own mask."""
        network = cast("Calibrated", self.network)
        return torch.cat(network.denoise_calibrated(noisy, timesteps, features), 1)


def mixed(shares: Tensor, own: Tensor) -> Tensor:
    """Mix samples with the calibration, as the public code of version 1 does.

    Where the two agree (Dice of at least 0.65), their mean; else the calibration and
    a quarter of the sample, at most 1. Decided for each member, class and slice.

    Parameters
    ----------
    shares, own : (M, C, Z, Y, X) Tensor in [0, 1]
        Of each member, for the C foreground classes: its sample, and the calibration.
    """
    inside = (shares > 0).to(shares.dtype)
    both = (inside * own).sum((-2, -1), keepdim=True)
    either = (inside + own).sum((-2, -1), keepdim=True)
    alike = 2 * both >= _ALIKE * either
    return torch.where(alike, (shares + own) / 2, (own + shares / 4).clamp(max=1))
