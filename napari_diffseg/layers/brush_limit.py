"""A brush that paints only voxels of some intensities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.editing import seed_range, within_range
from diffseg.errors import UserError
from napari_diffseg.session import Case
from napari_diffseg.views import BrushRange

_AROUND = 2  # voxels to each side that a stroke's start is judged by


class BrushLimit:
    """Which voxels under a brush have intensities that are wanted.

    Parameters
    ----------
    shown : (C, Z, Y, X) ndarray
        The image as shown; channels are averaged.
    wanted : BrushRange
        A range, or what is like the place where a stroke starts.
    """

    def __init__(self, shown: NDArray[Any], wanted: BrushRange) -> None:
        self._shown = shown
        self._wanted = wanted
        self._seed: tuple[float, float] | None = None

    def start_afresh(self) -> None:
        """A new stroke begins."""
        self._seed = None

    def fit(
        self, brush: NDArray[np.bool_], key: tuple[slice, ...], center: Sequence[int]
    ) -> NDArray[np.bool_]:
        """The part of a brush that fits, and hangs together with its centre.

        Parameters
        ----------
        brush : bool ndarray
        key : tuple of slice
            Where it lies, as shown.
        center : sequence of int
            In `brush`.
        """
        there = self._shown[(slice(None), *key)].mean(axis=0, dtype=np.float32)
        intensities = there.reshape(brush.shape)
        if self._wanted.paints == "range":
            low, high = self._wanted.low, self._wanted.high
        else:
            low, high = self._like_the_start(intensities, center)
        return within_range(brush, intensities, center, low, high)

    def _like_the_start(
        self, intensities: NDArray[np.float32], center: Sequence[int]
    ) -> tuple[float, float]:
        if self._seed is None:
            around = tuple(slice(max(i - _AROUND, 0), i + _AROUND + 1) for i in center)
            try:
                self._seed = seed_range(intensities[around])
            except UserError:
                self._seed = (0.0, -1.0)  # no number here: nothing is like it
        return self._seed


def limit_of(case: Case, wanted: BrushRange) -> BrushLimit | None:
    """The limit of brushes in a case; None where they paint all that they cover."""
    if wanted.paints == "all":
        return None
    voxels = case.volume.data
    # Colours are one thing; other channels are images of their own, the first is seen.
    several = voxels if case.volume.source.is_raster else voxels[:1]
    return BrushLimit(case.display.view(several), wanted)
