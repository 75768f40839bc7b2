"""Strokes on a network's grid: what is known, what it pulls at, what to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from diffseg.domain.resampling import LEAST_WIDTH
from diffseg.domain.strokes import ERASED
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.preparation import Frame

Codes = NDArray[np.uint8]
"""Dense strokes (Z, Y, X): 0 unknown, class index + 1, 255 background."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A constraint as one chain sees it, of the planes it answers for.

    Parameters
    ----------
    known : (n, Y, X) bool Tensor
    truth : (K, n, Y, X) float32 Tensor
        One-hot, background first; meant where it is `known`.
    pull : (K, n, Y, X) float32 Tensor in [0, 1]
    base : (K, n, Y, X) float32 Tensor, optional
        The mask to start from, one-hot.
    widths : (z, y, x)
        See `Constraint`.
    """

    known: Tensor
    truth: Tensor
    pull: Tensor
    base: Tensor | None
    widths: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """What holds the members to the strokes, on some planes of a network's grid.

    Parameters
    ----------
    first : int
        Plane of the network's input that the arrays begin at.
    kept : (n, Y, X) uint8 ndarray
        Strokes; see `Codes`.
    pull : (K, n, Y, X) float32 ndarray in [0, 1]
        How near, and how alike, the nearest stroke of each class is.
    base : (n, Y, X) uint8 ndarray, optional
        Class indices, 0 background.
    widths : (z, y, x)
        Of the kernel of a regression, in voxels.
    """

    first: int
    kept: Codes
    pull: Floats
    base: Codes | None
    widths: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def classes(self) -> int:
        """How many, with background."""
        return len(self.pull)

    def seen(self, planes: Sequence[int], flip: Sequence[int]) -> Seen:
        """Show it to a chain of the image flipped along axes (0 is Z).

        Parameters
        ----------
        planes : sequence of int
            Of the network's input, in the order in which they stand in the flipped
            image.
        flip : sequence of int
        """
        index = [plane - self.first for plane in planes]
        within = [axis - 3 for axis in flip if axis != 0]

        def shown(array: NDArray[np.generic]) -> NDArray[np.generic]:
            part = np.take(array, index, axis=-3)
            return np.flip(part, tuple(within)).copy() if within else part

        # Gradients may be asked for, which tensors made in inference mode cannot have.
        with torch.inference_mode(mode=False):
            kept = torch.from_numpy(shown(self.kept)).long()
            truth = self._one_hot(torch.where(kept == ERASED, 0, kept))
            base = None
            if self.base is not None:
                base = self._one_hot(torch.from_numpy(shown(self.base)).long())
            pull = torch.from_numpy(shown(self.pull))
            return Seen(kept > 0, truth, pull, base, self.widths)

    def _one_hot(self, classes: Tensor) -> Tensor:
        return functional.one_hot(classes, self.classes).movedim(-1, 0).float()


def onto_frame(codes: Codes, frame: Frame, *, thin: bool = False) -> Codes:
    """Bring a region's codes (Z, Y, X) to the network's grid, by the nearest voxel.

    With `thin`, codes other than 0 that no voxel of the grid is nearest to are kept
    as well: a stroke one voxel wide does not vanish on a coarser grid.
    """
    turned = frame.turn.apply(codes)
    if not frame.resampled:
        return turned
    pairs = list(zip(frame.turned, frame.shape, frame.step, strict=True))
    nearest = [_nearest(np.arange(there), n, there, step) for n, there, step in pairs]
    result: Codes = turned[np.ix_(*nearest)]
    if thin:
        places = np.nonzero(turned)
        target = tuple(
            _nearest(at, there, n, 1 / step)
            for at, (n, there, step) in zip(places, pairs, strict=True)
        )
        lost = result[target] == 0
        result[tuple(one[lost] for one in target)] = turned[places][lost]
    return result


def _nearest(
    at: NDArray[np.int64], n_in: int, n_out: int, step: float
) -> NDArray[np.int64]:
    """Index among `n_in` of places among `n_out`, about the common centre."""
    place = step * (at - (n_out - 1) / 2) + (n_in - 1) / 2
    nearest: NDArray[np.int64] = np.clip(np.rint(place), 0, n_in - 1).astype(np.int64)
    return nearest


def widths_of(
    spacing_mm: Sequence[float] | None, width_mm: float
) -> tuple[float, float, float]:
    """A kernel's width along (z, y, x) in voxels, `LEAST_WIDTH` at least."""
    z, y, x = spacing_mm or (1.0, 1.0, 1.0)
    return (
        max(LEAST_WIDTH, width_mm / z),
        max(LEAST_WIDTH, width_mm / y),
        max(LEAST_WIDTH, width_mm / x),
    )


def pull_of(
    kept: Codes,
    image: Floats,
    classes: int,
    spacing_mm: Sequence[float] | None,
    *,
    reach_mm: float,
    contrast: float,
) -> Floats:
    """How much each class's strokes pull at every voxel.

    ``exp(-d^2 / (2 reach^2) - s^2 / (2 contrast^2))`` of the nearest stroke of that
    class: d the distance to it, s how unlike it the image is, in standard deviations
    of the image (the kernel of the bilateral filter, Tomasi and Manduchi 1998). What
    several classes pull at is shared in proportion, so that no two add up beyond one.

    Parameters
    ----------
    kept : (Z, Y, X) uint8 ndarray
    image : (C, Z, Y, X) float32 ndarray
        On the same grid.
    classes : int
        K, with background.
    spacing_mm : (z, y, x), optional
        Without it a voxel counts as 1 mm.

    Returns
    -------
    (K, Z, Y, X) float32 ndarray in [0, 1]; 1 at the class's own strokes.
    """
    pull = np.zeros((classes, *kept.shape), dtype=np.float32)
    spread = np.maximum(image.std(axis=(1, 2, 3), keepdims=True), 1e-6)
    scaled = image / (spread * np.sqrt(len(image)))
    for index in range(classes):
        mine = kept == (index or ERASED)
        if not mine.any():
            continue
        distance, nearest = ndimage.distance_transform_edt(
            ~mine, sampling=spacing_mm, return_indices=True
        )
        unlike = ((scaled - scaled[(slice(None), *nearest)]) ** 2).sum(axis=0)
        pull[index] = np.exp(
            -(distance**2) / (2 * reach_mm**2) - unlike / (2 * contrast**2)
        )
    total, largest = pull.sum(axis=0), pull.max(axis=0)
    pull *= np.divide(largest, total, out=np.zeros_like(total), where=total > 0)
    for index in range(classes):
        pull[:, kept == (index or ERASED)] = 0
    for index in range(classes):
        pull[index, kept == (index or ERASED)] = 1
    return pull
