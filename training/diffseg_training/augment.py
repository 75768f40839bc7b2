"""Random changes of training examples: one resampling in space, then intensities.

Affine grids, resampling and intensities are MONAI's. The elastic bend is our own: a
coarse random grid, interpolated, in place of MONAI's field smoothed at full
resolution, which takes ten times as long in 3D. Only the box of the image that a
patch looks at is read, so that a volume on disk is never read whole.

Randomness enters through a generator only; the same key gives the same example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data.meta_obj import set_track_meta
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from monai.transforms.intensity.array import (
    AdjustContrast,
    GaussianSmooth,
    RandGaussianNoise,
    RandScaleIntensity,
    RandShiftIntensity,
)
from monai.transforms.spatial.array import RandAffineGrid, Resample
from torch import Tensor
from torch.nn import functional

from diffseg_training.recipe_parts import Augmentation

# MONAI's notes on each tensor, which nobody reads here, take half of the time.
set_track_meta(False)

_BEND_VOXELS = 12  # between the points of the coarse grid that bends


def example(
    image: Tensor,
    classes: Tensor,
    patch: Sequence[int],
    config: Augmentation | None,
    source: torch.Generator,
    centre: Sequence[int] | None = None,
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
    centre : sequence of int, optional
        Voxel that the patch is to show; without it any part of the image may be.

    Returns
    -------
    image : (C, *patch) float32 Tensor
    classes : (*patch) int64 Tensor
    """
    if config is None:
        fit = ResizeWithPadOrCrop(tuple(patch))
        return _plain(fit(image)).float(), _plain(fit(classes[None]))[0].long()
    middle = _middle(image.shape[1:], patch, config.shift, source, centre)
    places = _places(config, patch, source) + middle.view(-1, *(1,) * len(patch))
    box, places = _seen(places, image.shape[1:])
    cut = _resampled(image[(slice(None), *box)].float(), places, "bilinear", config)
    mask = _resampled(classes[box][None].float(), places, "nearest", config)[0]
    flips = [axis for axis in config.flip_axes if _uniform(source, 0, 1) < 0.5]
    if flips:
        cut = cut.flip([axis + 1 for axis in flips])
        mask = mask.flip(flips)
    return _changed(cut.contiguous(), config, source), mask.round().long()


def _uniform(source: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=source))


def _seed(source: torch.Generator) -> int:
    return int(torch.randint(2**31 - 1, (), generator=source))


def _plain(array: Any) -> Tensor:
    """A tensor without MONAI's notes on it."""
    plain: Tensor = array.as_subclass(Tensor)
    return plain


def _middle(
    size: Sequence[int],
    patch: Sequence[int],
    shift: float,
    source: torch.Generator,
    centre: Sequence[int] | None,
) -> Tensor:
    """Where the patch's middle lies in the image, in voxels."""
    middle = []
    for axis, (n, p) in enumerate(zip(size, patch, strict=True)):
        # An example larger than the patch is seen in full over time, not only its
        # middle.
        slack = max(0.0, (n - p) / 2)
        if centre is None:
            off = _uniform(source, -(slack + shift), slack + shift)
        else:
            # The middle of an even number of voxels lies between two.
            off = centre[axis] + 0.5 * (p % 2 == 0) - (n - 1) / 2
            off += _uniform(source, -shift, shift)
            off = min(max(off, -(slack + shift)), slack + shift)
        middle.append((n - 1) / 2 + off)
    return torch.tensor(middle)


def _places(
    config: Augmentation, patch: Sequence[int], source: torch.Generator
) -> Tensor:
    """Where each voxel of the patch is taken from, about its middle: (dims, *patch)."""
    dims = len(patch)
    turn = math.radians(config.rotate_deg)
    affine = RandAffineGrid(
        rotate_range=[turn] * (1 if dims == 2 else 3),
        scale_range=[config.scale] * dims,
        dtype=np.float32,
    )
    affine.set_random_state(seed=_seed(source))
    places = _plain(affine(spatial_size=tuple(patch)))[:dims].float()
    if config.elastic:
        shape = (1, dims, *(max(3, n // _BEND_VOXELS) for n in patch))
        coarse = torch.randn(shape, generator=source)
        mode = {2: "bicubic", 3: "trilinear"}[dims]
        bend = functional.interpolate(
            coarse, size=tuple(patch), mode=mode, align_corners=True
        )
        places = places + _uniform(source, 0, config.elastic) * bend[0]
    return places


def _seen(places: Tensor, size: Sequence[int]) -> tuple[tuple[slice, ...], Tensor]:
    """Box of the image that is looked at, and the places about that box's middle."""
    flat = places.flatten(1)
    low, high = flat.amin(1).floor(), flat.amax(1).ceil()
    box, middle = [], []
    for axis, n in enumerate(size):
        start = min(max(int(low[axis]) - 1, 0), n - 1)
        stop = max(min(int(high[axis]) + 2, n), start + 1)
        box.append(slice(start, stop))
        middle.append((start + stop - 1) / 2)
    return tuple(box), places - torch.tensor(middle).view(-1, *(1,) * len(size))


def _resampled(
    array: Tensor, places: Tensor, mode: str, config: Augmentation
) -> Tensor:
    """Values of (C, *S) at the places, about its middle, (dims, *patch)."""
    sample = Resample(mode=mode, padding_mode=config.outside, dtype=np.float32)
    return _plain(sample(array, grid=places))


def _changed(image: Tensor, config: Augmentation, source: torch.Generator) -> Tensor:
    """Change contrast, brightness, colour, sharpness and noise."""
    if config.gamma:
        gamma = math.exp(_uniform(source, -config.gamma, config.gamma))
        image = _plain(AdjustContrast(gamma)(image))
    for amount, own in ((config.contrast, False), (config.colour, True)):
        if amount:
            scale = RandScaleIntensity(amount, prob=1.0, channel_wise=own)
            shift = RandShiftIntensity(amount, prob=1.0, channel_wise=own)
            image = _keyed(shift, _keyed(scale, image, source), source)
    if _uniform(source, 0, 1) < config.blur:
        image = _plain(GaussianSmooth(_uniform(source, 0.4, 0.8))(image))
    if config.noise:
        strength = _uniform(source, 0, config.noise)
        noise = RandGaussianNoise(prob=1.0, std=strength, sample_std=False)
        image = _keyed(noise, image, source)
    return image


def _keyed(transform: Any, image: Tensor, source: torch.Generator) -> Tensor:
    """What a random transform of MONAI makes of an image, by the source's numbers."""
    transform.set_random_state(seed=_seed(source))
    return _plain(transform(image))
