"""Random changes of training examples: one resampling in space, then intensities.

Randomness enters through a generator only; the same key gives the same example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffseg_training.recipe import Augmentation


def _uniform(source: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=source))


def _rotation(dims: int, largest_deg: float, source: torch.Generator) -> Tensor:
    """Rotation by random angles in every plane of the array, (dims, dims)."""
    turn = torch.eye(dims)
    for i in range(dims):
        for j in range(i + 1, dims):
            angle = math.radians(_uniform(source, -largest_deg, largest_deg))
            plane = torch.eye(dims)
            plane[i, i] = plane[j, j] = math.cos(angle)
            plane[i, j], plane[j, i] = -math.sin(angle), math.sin(angle)
            turn = turn @ plane
    return turn


def _places(
    config: Augmentation | None,
    size: Sequence[int],
    patch: Sequence[int],
    source: torch.Generator,
) -> Tensor:
    """Where each voxel of the patch is taken from: (*patch, dims) voxel indices."""
    dims = len(patch)
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    # An example larger than the patch is seen in full over time, not only its middle.
    slack = [max(0.0, (n - p) / 2) for n, p in zip(size, patch, strict=True)]
    if config is None:
        slack = [0.0] * dims
    else:
        turn = _rotation(dims, config.rotate_deg, source)
        turn = turn * math.exp(_uniform(source, -config.scale, config.scale))
        places = places @ turn.T
        flips = [
            -1.0 if axis in config.flip_axes and _uniform(source, 0, 1) < 0.5 else 1.0
            for axis in range(dims)
        ]
        places = places * torch.tensor(flips)
        if config.elastic:
            coarse = torch.randn(
                (1, dims, *(max(3, n // 12) for n in patch)), generator=source
            )
            mode = {2: "bicubic", 3: "trilinear"}[dims]
            bend = functional.interpolate(
                coarse, size=tuple(patch), mode=mode, align_corners=True
            )
            amount = _uniform(source, 0, config.elastic)
            places = places + amount * bend[0].movedim(0, -1)
    shift = config.shift if config is not None else 0.0
    middle = torch.tensor(
        [
            (n - 1) / 2 + _uniform(source, -(s + shift), s + shift)
            for n, s in zip(size, slack, strict=True)
        ]
    )
    return places + middle


def _resample(array: Tensor, places: Tensor, mode: str) -> Tensor:
    """Values of (C, *S) at voxel indices (*patch, dims); zero outside."""
    sizes = torch.tensor(array.shape[1:], dtype=torch.float32)
    grid = (2 * places + 1) / sizes - 1  # align_corners=False
    return functional.grid_sample(
        array[None], grid.flip(-1)[None], mode=mode, align_corners=False
    )[0]


def _change_intensity(
    image: Tensor, config: Augmentation, source: torch.Generator
) -> Tensor:
    low, high = image.amin(), image.amax()
    span = (high - low).clamp_min(1e-6)
    gamma = math.exp(_uniform(source, -config.gamma, config.gamma))
    image = ((image - low) / span) ** gamma * span + low
    image = image * (1 + _uniform(source, -config.contrast, config.contrast))
    image = image + _uniform(source, -config.contrast, config.contrast)
    if _uniform(source, 0, 1) < config.blur:
        pool = functional.avg_pool3d if image.ndim == 4 else functional.avg_pool2d
        image = pool(image[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    strength = _uniform(source, 0, config.noise)
    return image + strength * torch.randn(image.shape, generator=source)


def example(
    image: Tensor,
    classes: Tensor,
    patch: Sequence[int],
    config: Augmentation | None,
    source: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Cut and change one example.

    Parameters
    ----------
    image : (C, *S) float32 Tensor
        Prepared image; what lies outside is 0, the mean of a z-scored image.
    classes : (*S) Tensor
        Class indices, 0 is background.
    config : Augmentation or None
        None only centres, pads and crops.

    Returns
    -------
    image : (C, *patch) float32 Tensor
    classes : (*patch) int64 Tensor
    """
    places = _places(config, image.shape[1:], patch, source)
    cut = _resample(image, places, "bilinear")
    mask = _resample(classes[None].float(), places, "nearest")[0].round().long()
    if config is not None:
        cut = _change_intensity(cut, config, source)
    return cut, mask
