"""`latent`: an ensemble of masks drawn in the latent of an autoencoder (LEAF, SDSeg).

Slice by slice: the image is encoded once; every member begins as noise in the latent,
is denoised in one step from the noisiest level or by a chain of steps, and is decoded
to probabilities (LEAF 2025, section 3.4; SDSeg, Lin et al. 2024).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from diffseg.networks.conditioned import Conditioned
from diffseg.segmenters.latent_members import LatentMembers
from diffseg.segmenters.latent_slices import LatentNetwork
from diffseg.segmenters.members import BLOCK_VOXELS
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.source import MemberSource


class Latent(NetworkSegmenter):
    """A latent diffusion segmenter with its weights, on a device."""

    __slots__ = ()

    @property
    def probed(self) -> Conditioned:
        """A step and its decoding in one: of several steps one alone is decoded."""
        return cast("Conditioned", WholePass(self.network))

    def source(self, *, block_voxels: int = BLOCK_VOXELS) -> MemberSource:
        """Return what draws the members of one request.

        Parameters
        ----------
        block_voxels : int
            Of the slices that are finished together.

        Raises
        ------
        UserError
            The network or the card is none of this method's.
        """
        network = cast("LatentNetwork", self.network)
        return LatentMembers(network, self.card, self.device, block_voxels=block_voxels)


class WholePass(nn.Module):
    """From a noisy mask as large as the image to probabilities, for timing alone.

    Parameters
    ----------
    network : LatentNetwork
    """

    def __init__(self, network: Conditioned) -> None:
        super().__init__()
        self.network = cast("LatentNetwork", network)  # a module, and registered as one
        self.dims, self.multiple = network.dims, network.multiple
        self.mask_channels = network.mask_channels
        self.learned_variance = network.learned_variance

    def encode(self, image: Tensor) -> Tensor:
        """Latent of an image."""
        latent: Tensor = self.network.encode(image)
        return latent

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Probabilities (B, K, Y, X) after one step from `noisy` (B, Z, Y, X)."""
        factor = self.network.factor
        small = noisy[..., ::factor, ::factor].contiguous()
        answer = self.network.denoise(small, timesteps, features)
        return self.network.decode(answer)
