"""Class maps spread over pixels of like colour: pixel-adaptive refinement (PAR).

Ru et al. 2022 (AFA), section 3.3; DiCLIP names it, too. Each pixel takes, again and
again, the mean of its neighbours near and far, weighted by how alike they look.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.segmenters.refining.neighbours import Offset, Surrounded, ring_offsets

DILATIONS = (1, 2, 4, 8, 12, 24)
_WIDTH = 0.3  # of both affinities, in standard deviations of the neighbourhood


def pixel_affinity(
    image: Tensor, offsets: Sequence[Offset], *, place_weight: float = 0.01
) -> Tensor:
    """Weights (B, P, Y, X) of each pixel's P neighbours, which sum to 1.

    A softmax over the neighbours of ``-(|dI| / (0.3 s))^2``, averaged over channels,
    where s is the standard deviation of the neighbours' values; and with a weight of
    `place_weight` one of the same form of their distance.

    Parameters
    ----------
    image : (B, C, Y, X) Tensor
        Of any number of channels and any range: only ratios count.
    offsets : sequence of P (int, int)
        At least two.
    place_weight : float
        In the paper 0.01; the sum is divided by ``1 + place_weight``, so that a map
        that is the same everywhere stays as it is.
    """
    likeness = torch.zeros(())
    for index in range(image.shape[1]):  # one at a time: P fields are large
        channel = image[:, index : index + 1].float()
        around = Surrounded(channel, offsets)
        beside = torch.cat([around.shifted(offset) for offset in offsets], 1)
        width = beside.std(1, keepdim=True) + 1e-8
        likeness = likeness - ((beside - channel) / width / _WIDTH) ** 2
    likeness = likeness / image.shape[1]
    place = torch.tensor(offsets, dtype=torch.float32, device=image.device)
    far = place.norm(dim=1)
    nearness = -((far / (far.std() + 1e-8) / _WIDTH) ** 2)
    weights = functional.softmax(likeness, 1)
    weights = weights + place_weight * functional.softmax(nearness, 0)[:, None, None]
    return weights / (1 + place_weight)


def refine_by_pixels(
    maps: Tensor,
    image: Tensor,
    *,
    iterations: int = 20,
    dilations: Sequence[int] = DILATIONS,
    place_weight: float = 0.01,
    weights: Tensor | None = None,
) -> Tensor:
    """Refine class maps by the colours of an image.

    Parameters
    ----------
    maps : (B, K, y, x) Tensor
        Resized to the image's pixels.
    image : (B, C, Y, X) Tensor
        Of any number of channels and any range.
    iterations : int
    dilations : sequence of int
        Distances of the 8 neighbours; outside the image its edge goes on.
    place_weight : float
        See `pixel_affinity`.
    weights : (B, P, Y, X) Tensor, optional
        What that gives for this image and these dilations, where it is known.

    Returns
    -------
    (B, K, Y, X) float32 Tensor
        Within the range of the maps; maps that sum to 1 at each pixel still do.

    Raises
    ------
    UserError
        There is no distance, or one below 1.
    """
    if not dilations or min(dilations) < 1:
        raise UserError(f"dilations are {tuple(dilations)}; give some of 1 and more")
    offsets = ring_offsets(dilations)
    if weights is None:
        weights = pixel_affinity(image, offsets, place_weight=place_weight)
    size = (image.shape[2], image.shape[3])
    maps = maps.float()
    if tuple(maps.shape[2:]) != size:
        maps = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    for _ in range(iterations):
        around, new = Surrounded(maps, offsets), torch.zeros_like(maps)
        for index, offset in enumerate(offsets):
            new += weights[:, index : index + 1] * around.shifted(offset)
        maps = new
    return maps


def refine_each(
    maps: Tensor, images: Tensor, *, iterations: int, dilations: Sequence[int]
) -> Tensor:
    """`refine_by_pixels` image by image: an image's weights are many times an image."""
    parts = [
        refine_by_pixels(one, image, iterations=iterations, dilations=dilations)
        for one, image in zip(maps[:, None], images[:, None], strict=True)
    ]
    return torch.cat(parts)
