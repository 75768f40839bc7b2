"""A region of a volume becomes a network's input, and its output comes back.

Everything is computed after the axes are turned to the card's orientation, on
contiguous arrays: the same scan stored another way gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.domain import Intensity, Preparation, Region
from diffseg.errors import UserError
from diffseg.segmenters.channels import in_channels
from diffseg.segmenters.intensity import Floats, as_float32, doubts, finite, normalise
from diffseg.volume import Grid, Reorientation

Shape = tuple[int, int, int]

# A spacing this close to the wanted one is taken for it: no interpolation.
SPACING_TOLERANCE = 0.01
# More prepared voxels than this speak of a wrong spacing, not of a patient.
MOST_VOXELS = 2**29


@dataclass(frozen=True, slots=True)
class Frame:
    """The way from a region of the source grid to the network's grid and back.

    Parameters
    ----------
    region : Region
        Box of source voxels.
    turn : Reorientation
        From the source's axes to the card's.
    turned, shape : (Z, Y, X)
        Extent of the region after turning, and of the network's input.
    step : (z, y, x)
        Source voxels per voxel of the input; 1 where nothing is resampled.
    spacing_mm : (z, y, x) or None
        Spacing of the network's input; None where the image has none.
    channels : tuple of str
        Of the network's input; empty: whatever the image has.
    """

    region: Region
    turn: Reorientation
    turned: Shape
    shape: Shape
    step: tuple[float, float, float]
    spacing_mm: tuple[float, float, float] | None
    channels: tuple[str, ...] = ()

    @property
    def resampled(self) -> bool:
        """Whether voxels are interpolated."""
        return self.step != (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A network's input and what was noticed on the way.

    `image` is (C, Z, Y, X) float32 on the frame's grid.
    """

    image: Floats
    frame: Frame
    warnings: tuple[str, ...] = ()


def frame_of(grid: Grid, region: Region, preparation: Preparation) -> Frame:
    """Plan how `region` of `grid` is brought to a card's orientation and spacing.

    An image without spacing is taken as it is stored. A network over two
    dimensions sees every plane as it is: its planes are not resampled. With a size on
    the card, each of them is brought to that size, whatever its spacing.

    Raises
    ------
    UserError
        The spacing would make the region impossibly large.
    """
    turned, turn = grid.cropped(region.ranges), Reorientation()
    if grid.has_spacing and preparation.orientation is not None:
        turned, turn = turned.reoriented(preparation.orientation)
    # Rounded, as the same spacing read from another affine differs by an ulp.
    have = [round(value, 6) for value in turned.spacing_zyx]
    step, shape, spacing = [1.0] * 3, list(turned.shape), list(have)
    if preparation.size is not None:
        for axis, side in zip((1, 2), preparation.size, strict=True):
            step[axis] = shape[axis] / side
            shape[axis], spacing[axis] = side, have[axis] * step[axis]
    elif grid.has_spacing and preparation.spacing_mm is not None:
        want = preparation.spacing_mm[::-1]
        for axis in range(3 - preparation.dims, 3):
            if abs(want[axis] / have[axis] - 1) > SPACING_TOLERANCE:
                step[axis] = want[axis] / have[axis]
                shape[axis] = max(1, round(shape[axis] / step[axis]))
                spacing[axis] = want[axis]
    if np.prod(shape, dtype=float) > MOST_VOXELS:
        size = " x ".join(f"{value:g}" for value in have)
        raise UserError(
            f"a spacing of {size} mm (plane, row, column) makes {shape} voxels for "
            "the model: check the image's header, or give a smaller region"
        )
    return Frame(
        region,
        turn,
        turned.shape,
        _triple(shape),
        _triple(step),
        _triple(spacing) if grid.has_spacing else None,
        preparation.channels,
    )


def part_of(frame: Frame, start: int, stop: int) -> Frame:
    """Return the frame of some planes of the network's input.

    Parameters
    ----------
    frame : Frame
        Whose planes are not resampled, unless all of them are wanted.
    start, stop : int
        Half-open range of planes.

    Raises
    ------
    ValueError
        The planes are resampled: part of them is no box of the source.
    """
    if (start, stop) == (0, frame.shape[0]):
        return frame
    if frame.step[0] != 1:
        raise ValueError("planes of this input are resampled; take all of them")
    planes = stop - start
    axis = frame.turn.axes[0]
    first, last = frame.region.ranges[axis]
    # Backwards, the first planes of the input are the last of the source.
    low, high = (last - stop, last - start) if frame.turn.flips[0] else (
        first + start, first + stop
    )  # fmt: skip
    ranges = list(frame.region.ranges)
    ranges[axis] = (low, high)
    return replace(
        frame,
        region=Region(*ranges),
        turned=(planes, *frame.turned[1:]),
        shape=(planes, *frame.shape[1:]),
    )


def planes_of(frame: Frame, region: Region) -> range:
    """Return the planes of the network's input that a box of the frame's lies in.

    Of a frame whose planes are resampled, and that is the box: all of them.
    """
    if region == frame.region:
        return range(frame.shape[0])
    axis = frame.turn.axes[0]
    first, last = frame.region.ranges[axis]
    start, stop = region.ranges[axis]
    # Backwards, the first planes of the input are the last of the source.
    low, high = (last - stop, last - start) if frame.turn.flips[0] else (
        start - first, stop - first
    )  # fmt: skip
    return range(low, high)


def prepare(
    voxels: NDArray[Any], frame: Frame, intensity: Intensity, *, name: str = "image"
) -> Prepared:
    """Crop, turn, resample, bring to the network's channels and normalise.

    Parameters
    ----------
    voxels : (C, Z, Y, X) ndarray
        The whole volume, on the grid that `frame` was made for.
    frame : Frame
    intensity : Intensity
    name : str
        What the region is called in messages.

    Raises
    ------
    UserError
        A channel of the region holds no finite voxel, or the image has other channels
        than the network.
    """
    warnings: list[str] = []
    crop = voxels[(slice(None), *frame.region.slices)]
    image, replaced = finite(frame.turn.apply(as_float32(crop)), name)
    if replaced:
        share = 100 * replaced / image.size
        warnings.append(
            f"{name}: {replaced} voxels ({share:.2g} %) are NaN or infinite and were "
            "replaced by the median of the others; doubt the result near them"
        )
    if frame.resampled:
        image = np.stack([resample(one, frame.shape, frame.step) for one in image])
    warnings.extend(doubts(image, intensity, name))
    image = in_channels(image, frame.channels, name)
    return Prepared(normalise(image, intensity), frame, tuple(warnings))


def restore(probability: Floats, frame: Frame) -> Floats:
    """Bring class probabilities back to the region's own voxels.

    The inverse of the geometry of `prepare`: exact where nothing was resampled,
    else by linear interpolation, renormalised to sum to 1.

    Parameters
    ----------
    probability : (K, z, y, x) float32 ndarray on the frame's grid

    Returns
    -------
    (K, Z, Y, X) float32 ndarray on the region's voxels of the source grid.
    """
    if frame.resampled:
        back = _triple([1 / step for step in frame.step])
        probability = np.stack(
            [resample(one, frame.turned, back) for one in probability]
        )
        probability /= probability.sum(axis=0)
    return frame.turn.undo(probability)


def resample(image: Floats, shape: Shape, step: tuple[float, float, float]) -> Floats:
    """Interpolate linearly, about the common centre; anti-aliased.

    Parameters
    ----------
    image : (Z, Y, X) float32 ndarray
    shape : (Z, Y, X)
        Extent of the result.
    step : (z, y, x)
        Voxels of `image` per voxel of the result. Along an axis where it is
        above 1, a Gaussian of ``(step - 1) / 2`` voxels comes first.
    """
    blur = [max(0.0, (s - 1) / 2) for s in step]
    smooth = ndimage.gaussian_filter(image, blur) if any(blur) else image
    offset = [
        (n_in - 1) / 2 - s * (n_out - 1) / 2
        for n_in, n_out, s in zip(image.shape, shape, step, strict=True)
    ]
    result: Floats = ndimage.affine_transform(
        smooth, np.array(step), offset, output_shape=shape, order=1, mode="nearest",
        output=np.float32, prefilter=False,
    )  # fmt: skip
    return result


def _triple(values: Any) -> Any:
    first, second, third = values
    return (first, second, third)
