"""Intensities: what is not a number, what a network expects, what looks odd."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Intensity
from diffseg.errors import UserError

Floats = NDArray[np.float32]


def as_float32(voxels: NDArray[Any]) -> Floats:
    """Convert to float32; what does not fit becomes infinite."""
    with np.errstate(over="ignore"):
        return voxels.astype(np.float32)


def finite(image: Floats, name: str = "image") -> tuple[Floats, int]:
    """Replace NaN and infinite voxels by the median of their channel's others.

    Parameters
    ----------
    image : (C, ...) float32 ndarray

    Returns
    -------
    image : (C, ...) float32 ndarray
        The same array where nothing had to be replaced.
    replaced : int
        How many voxels were.

    Raises
    ------
    UserError
        A channel holds no finite voxel.
    """
    sound = np.isfinite(image)
    replaced = int(image.size - np.count_nonzero(sound))
    if not replaced:
        return image, 0
    filled = image.copy()
    for channel, keep in zip(filled, sound, strict=True):
        if not keep.any():
            raise UserError(
                f"{name}: every voxel is NaN or infinite; give an image or a region "
                "that holds intensities"
            )
        channel[~keep] = np.median(channel[keep])
    return filled, replaced


def normalise(image: Floats, intensity: Intensity) -> Floats:
    """Bring intensities to the network's range, channel by channel.

    Parameters
    ----------
    image : (C, ...) float32 ndarray, finite
    intensity : Intensity
        ``zscore``: mean 0 and standard deviation 1 over the array, clipped at
        `clip_sigma`; a constant channel becomes 0. ``window``: `low` to `high`
        become -1 to 1, clipped. ``range``: `low` to `high`, or else the smallest to
        the largest of each channel, become the ends of `to`, clipped; a constant
        channel of unknown ends becomes the lower one. ``standard``: less `mean`,
        divided by `deviation`, which are given for each channel. ``tissue``: see
        `_by_tissue`; a constant channel becomes -1.

    Returns
    -------
    (C, ...) float32 ndarray

    Raises
    ------
    UserError
        Means for another number of channels, or a window that is none.
    """
    if intensity.kind == "window":
        low, high = _window(intensity)
        scaled = (image - np.float32(low)) * np.float32(2 / (high - low)) - 1
        clipped: Floats = np.clip(scaled, -1, 1).astype(np.float32)
        return clipped
    if intensity.kind == "range":
        return np.stack([_in_range(channel, intensity) for channel in image])
    if intensity.kind == "standard":
        return _standard(image, intensity)
    if intensity.kind == "tissue":
        return np.stack([_by_tissue(channel, intensity.most) for channel in image])
    normalised = np.zeros_like(image)
    for channel, into in zip(image, normalised, strict=True):
        mean, deviation = _moments(channel)
        if deviation > 0:
            scaled = (channel.astype(np.float64) - mean) / deviation
            into[...] = np.clip(scaled, -intensity.clip_sigma, intensity.clip_sigma)
    return normalised


def _in_range(channel: Floats, intensity: Intensity) -> Floats:
    if intensity.low is None:
        low, high = float(channel.min()), float(channel.max())
    else:
        low, high = _window(intensity)
    first, last = intensity.to
    if low == high:
        return np.full_like(channel, first)
    # Shares first: in float64, as the ends may be far from each other.
    share = np.clip((channel.astype(np.float64) - low) / (high - low), 0, 1)
    scaled: Floats = (first + share * (last - first)).astype(np.float32)
    return scaled


def _by_tissue(channel: Floats, most: float) -> Floats:
    """Air becomes -1 and the median of tissue 0, clipped at `most`.

    MR has no units: the same tissue is twice as bright in the next scan, and the scalp,
    bright near the coil, says nothing about it. Air is the first percentile; tissue is
    what lies above the middle between air and Otsu's threshold, which parts fat from
    the rest where fat is bright.
    """
    from skimage.filters import threshold_otsu  # slow to import

    if channel.min() == channel.max():
        return np.full_like(channel, -1)
    parted = float(threshold_otsu(channel))  # type: ignore[no-untyped-call]
    # Where next to nothing is air, the first percentile may be tissue.
    air = min(float(np.percentile(channel, 1)), parted)
    tissue = channel[channel > (air + parted) / 2]
    middle = float(np.median(tissue))  # of something: the largest lies above Otsu's
    scaled = (channel.astype(np.float64) - air) / (middle - air) - 1
    clipped: Floats = np.clip(scaled, -1, most).astype(np.float32)
    return clipped


def _standard(image: Floats, intensity: Intensity) -> Floats:
    if len(intensity.mean) != len(image):
        raise UserError(
            f"the model card's intensity has means of {len(intensity.mean)} channels, "
            f"its image has {len(image)}"
        )
    shape = (-1,) + (1,) * (image.ndim - 1)
    mean = np.array(intensity.mean, np.float32).reshape(shape)
    deviation = np.array(intensity.deviation, np.float32).reshape(shape)
    scaled: Floats = (image - mean) / deviation
    return scaled


def doubts(image: Floats, intensity: Intensity, name: str) -> list[str]:
    """Return a line for each channel that no training image can have looked like."""
    lines: list[str] = []
    for index, channel in enumerate(image):
        what = name if len(image) == 1 else f"{name}, channel {index}"
        low, high = float(channel.min()), float(channel.max())
        if low == high:
            lines.append(
                f"{what}: every voxel is {low:g}; there is nothing to see, and the "
                "result is a guess"
            )
        elif intensity.kind == "window":
            start, stop = _window(intensity)
            inside = np.mean((channel > start) & (channel < stop))
            if inside < 0.01:
                lines.append(
                    f"{what}: intensities {low:g} to {high:g} lie outside the model's "
                    f"window {start:g} to {stop:g}; doubt the result"
                )
        elif intensity.kind == "range" and intensity.low is not None:
            lines.extend(_beyond(low, high, intensity, what))
        elif intensity.kind == "standard":
            pass  # no intensity is impossible
        else:
            lines.extend(_outliers(channel, what))
    return lines


def _beyond(low: float, high: float, intensity: Intensity, what: str) -> list[str]:
    """A line where intensities leave the range, or fill next to nothing of it."""
    start, stop = _window(intensity)
    width = stop - start
    if (
        start - 0.1 * width <= low
        and 0.01 * width < high - low
        and (high <= stop + 0.1 * width)
    ):
        return []
    return [
        f"{what}: intensities reach from {low:g} to {high:g} where the model expects "
        f"{start:g} to {stop:g}; doubt the result"
    ]


def _outliers(channel: Floats, what: str) -> list[str]:
    p01, p99 = (float(value) for value in np.percentile(channel, (1, 99)))
    _, deviation = _moments(channel)
    # 4.7 standard deviations apart for a normal distribution, 1.8 for a mask of
    # one tenth; near 0 only where a few voxels make up all the contrast.
    if p99 - p01 < deviation:
        low, high = float(channel.min()), float(channel.max())
        return [
            f"{what}: intensities reach from {low:g} to {high:g}, but 98 % lie within "
            f"{p01:g} to {p99:g}; the model never saw such a range, doubt the result"
        ]
    return []


def _moments(channel: Floats) -> tuple[float, float]:
    """Mean and standard deviation in float64; 0 for a constant channel."""
    if channel.min() == channel.max():
        return float(channel.flat[0]), 0.0
    wide = channel.astype(np.float64)
    return float(wide.mean()), float(wide.std())


def _window(intensity: Intensity) -> tuple[float, float]:
    low, high = intensity.low, intensity.high
    if low is None or high is None or not low < high:
        raise UserError(
            f"the model card's intensity window {low} to {high} is not a range: "
            "low and high are needed, low below high"
        )
    return low, high
