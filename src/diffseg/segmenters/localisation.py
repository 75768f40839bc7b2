"""Where a card's region lies in a whole head: boxes carried over from MNI152.

An affine registration of the template's brain to the image by Mattes' mutual
information (Mattes et al., 2003), from several starts, coarse to fine. Mutual
information also rewards a brain laid over a scalp, so that what counts in the
end is another measure: the correlation of intensities inside the brain.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Localisation, Region, TemplateBox
from diffseg.errors import UserError
from diffseg.progress import Work, run
from diffseg.segmenters.intensity import as_float32, finite
from diffseg.segmenters.pyramid import LOOKING
from diffseg.segmenters.regions import ADVICE, OPTION, check_findable
from diffseg.segmenters.registration import Registered, iter_register
from diffseg.segmenters.template import mni152
from diffseg.volume import Affine, Grid, Volume

# Correlation inside the brain. Found rightly: the template itself, turned, scaled
# or inside a made-up scalp 0.96 to 1.00; a patient's T1 without skull 0.71, half of
# it 0.73. Not to be trusted: that T1 back to front 0.39 or upside down 0.27, its
# FLAIR 0.30 to 0.33, a head CT 0.20, balls 0.20, noise 0.24; and a T1 with skull,
# contrast and a large tumour, where the brain is laid over the scalp, 0.06.
LEAST_SIMILARITY = 0.5
# A box that the image's edge cuts down further than this is not worth a guess.
LEAST_INSIDE = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """Where the boxes of a card lie in an image.

    Parameters
    ----------
    boxes : tuple of (str, Region)
        Name and half-open box of source voxels, in the card's order.
    similarity : float
        Correlation of template and image inside the brain, in [-1, 1].
    seconds : float
        How long it took.
    warnings : tuple of str
        One line for each box that reaches beyond the image.
    """

    boxes: tuple[tuple[str, Region], ...]
    similarity: float
    seconds: float
    warnings: tuple[str, ...] = ()


def locate(volume: Volume, localisation: Localisation) -> Found:
    """Register the template to the first channel and carry the boxes over.

    The answer does not depend on how the image is stored, on the number of
    threads or on chance.

    Raises
    ------
    UserError
        As `iter_locate`.
    """
    return run(iter_locate(volume, localisation))


def iter_locate(volume: Volume, localisation: Localisation) -> Work[Found]:
    """Do what `locate` does, with signs of life; closing the generator cancels.

    Yields
    ------
    Progress
        Stage ``prepare``.

    Returns
    -------
    Found

    Raises
    ------
    UserError
        The image has no spacing or is no volume, nothing in it looks like the
        template, a box lies outside the image, or the template is not installed.
    """
    start = time.perf_counter()
    check_findable(volume)
    # In one orientation, so that however the image is stored the sums are the same.
    # Rounded, as an affine that was turned and turned back differs by an ulp.
    grid, turn = volume.grid.reoriented("RAS")
    grid = replace(grid, affine=Affine(np.round(grid.affine.matrix, 6)))
    image, _ = finite(turn.apply(as_float32(volume.data[:1])), volume.name)
    yield LOOKING
    registered = yield from iter_register(mni152(), image[0], grid.affine)
    if registered is None or registered.similarity < LEAST_SIMILARITY:
        similarity = registered.similarity if registered is not None else 0.0
        raise UserError(
            f"{volume.name}: no brain found like the template (similarity "
            f"{similarity:.2f} < {LEAST_SIMILARITY}): {ADVICE}",
            option=OPTION,
        )
    boxes, warnings = _carried(localisation.boxes, registered, grid, volume)
    seconds = time.perf_counter() - start
    return Found(boxes, registered.similarity, seconds, warnings)


def _carried(
    boxes: Sequence[TemplateBox], registered: Registered, grid: Grid, volume: Volume
) -> tuple[tuple[tuple[str, Region], ...], tuple[str, ...]]:
    found: list[tuple[str, Region]] = []
    warnings: list[str] = []
    for box in boxes:
        low, high = _voxels(registered.points @ corners(box), grid.affine)
        clipped_low = np.clip(low, 0, grid.shape)
        clipped_high = np.clip(high, 0, grid.shape)
        inside = np.prod(np.maximum(clipped_high - clipped_low, 0)) / np.prod(
            high - low
        )
        if inside < LEAST_INSIDE:
            raise UserError(
                f"{volume.name}: the {box.name} lies outside the image "
                f"({100 * inside:.0f} % of its box is inside): {ADVICE}",
                option=OPTION,
            )
        if inside < 1:
            warnings.append(
                f"{box.name}: {100 * (1 - inside):.0f} % of its box lies outside the "
                "image; doubt its volume"
            )
        region = _source_region(clipped_low, clipped_high, grid, volume.grid)
        found.append((box.name, region))
    return tuple(found), tuple(warnings)


def corners(box: TemplateBox) -> NDArray[np.float64]:
    """Return the eight corners of a box, (8, 3) in template mm."""
    axes = zip(box.low_mm, box.high_mm, strict=True)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(8, 3)


def _voxels(
    points_mm: NDArray[np.float64], affine: Affine
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half-open range (z, y, x) of the voxels nearest to the points and between."""
    indices = np.rint((affine.inverse() @ points_mm)[:, ::-1]).astype(np.int64)
    return indices.min(axis=0), indices.max(axis=0) + 1


def _source_region(
    low: NDArray[np.int64], high: NDArray[np.int64], turned: Grid, source: Grid
) -> Region:
    """Translate a box of the turned grid into the source's own voxels."""
    ends = np.stack([low, high - 1])[:, ::-1].astype(float)
    own = source.affine.inverse() @ (turned.affine @ ends)
    start, stop = _ordered(np.rint(own[:, ::-1]).astype(int))
    z, y, x = zip(start, stop, strict=True)
    return Region(z, y, x).checked(source.shape)


def _ordered(ends: NDArray[Any]) -> tuple[list[int], list[int]]:
    return ends.min(axis=0).tolist(), (ends.max(axis=0) + 1).tolist()
