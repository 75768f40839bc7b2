"""Alignment of a denoiser with a frozen vision transformer (LEAF, section 3.3).

A map of the U-Net, at as many positions as the teacher has patch tokens, is projected
to their width and drawn towards them in training. Nothing here is needed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks.latent_diffusion import LatentDiffusion
from diffseg.networks.latent_unet import LatentUNet


@dataclass(frozen=True, slots=True)
class AlignmentMap:
    """Which map of the way down is aligned.

    Parameters
    ----------
    block : int
        Number of the block, the stem being 0.
    channels : int
        Its width.
    size : (int, int)
        Its extents (y, x).
    """

    block: int
    channels: int
    size: tuple[int, int]


def alignment_map(
    network: LatentDiffusion | LatentUNet, size: tuple[int, int], tokens: int
) -> AlignmentMap:
    """Find the first map after the stem that has as many positions as there are tokens.

    Of the published network at 256 x 256 and for 256 tokens: block 3, 192 channels,
    16 x 16.

    Parameters
    ----------
    network : LatentDiffusion or LatentUNet
    size : (int, int)
        Extents (y, x) of what enters: the image, or the latent of a `LatentUNet`.
    tokens : int
        Patch tokens of the teacher.

    Raises
    ------
    UserError
        No map has so many positions; the message lists those there are.
    """
    unet = network if isinstance(network, LatentUNet) else network.unet
    factor = 1 if isinstance(network, LatentUNet) else network.factor
    found = alignment_maps(unet, (size[0] // factor, size[1] // factor))
    for place in found:
        if place.size[0] * place.size[1] == tokens:
            return place
    sizes = ", ".join(sorted({f"{y} x {x}" for y, x in (p.size for p in found)}))
    raise UserError(
        f"teacher: {tokens} patch tokens fit no map of the network, which are {sizes}; "
        "give the teacher's grid as one of them"
    )


def alignment_maps(unet: LatentUNet, size: tuple[int, int]) -> list[AlignmentMap]:
    """Maps of the way down, without the stem's, for a latent of extents `size`."""
    return [
        AlignmentMap(
            block,
            place.channels,
            (size[0] // place.downsampling, size[1] // place.downsampling),
        )
        for block, place in enumerate(unet.maps)
        if block
    ]


class Projector(nn.Sequential):
    """A map to as many tokens as it has positions, of the teacher's width.

    Parameters
    ----------
    channels : int
        Width of the map.
    tokens_dim : int
        Width of the teacher's tokens.
    hidden : int
        Width in between.
    """

    def __init__(self, channels: int, tokens_dim: int, hidden: int = 2048) -> None:
        super().__init__(
            nn.Linear(channels, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, tokens_dim),
        )

    def forward(self, seen: Tensor) -> Tensor:
        """(B, C, Y, X) to (B, Y * X, D), row by row, as a teacher orders its tokens."""
        x = seen.flatten(2).transpose(1, 2)
        for layer in self:
            x = layer(x)
        return x
