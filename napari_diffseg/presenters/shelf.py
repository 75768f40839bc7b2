"""Cases that were closed before their strokes were safe in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diffseg.project.facts import Stamp
from diffseg.volume import Display, Volume
from napari_diffseg.presenters.geometry import GIVEN_BY_HAND
from napari_diffseg.presenters.reading import of_files
from napari_diffseg.session import Case


class Shelf:
    """Keeps closed cases: their image opened again, they go on as they were."""

    def __init__(self) -> None:
        self._cases: list[Case] = []

    def put(self, case: Case) -> None:
        """Keep a case."""
        self._cases.append(case)

    def drop(self, case: Case) -> bool:
        """Keep a case no longer; whether it was kept."""
        there = case in self._cases
        if there:
            self._cases.remove(case)
        return there

    def of_files(self, names: Sequence[str], series: str | None) -> Case | None:
        """The case that was opened from these files, or None."""
        return of_files(self._cases, names, series)

    def of_voxels(self, volume: Volume) -> Case | None:
        """The case of an image that came without a file and had these voxels."""
        for case in self._cases:
            if not case.volume.source.paths and _equal(case.volume, volume):
                return case
        return None


def renew(case: Case, volume: Volume, stamps: tuple[Stamp | None, ...]) -> bool:
    """Give a closed case its image as it was read anew.

    Returns
    -------
    bool
        False where the image is another one: the mask does not lie on it.
    """
    if stamps == case.stamps:
        return True
    grid = case.volume.grid
    if not volume.grid.same_as(grid):
        return False
    if grid.has_spacing and not volume.grid.has_spacing:
        volume = replace(volume, grid=grid).with_warnings(GIVEN_BY_HAND)
    case.volume, case.display, case.stamps = volume, Display.of(volume.grid), stamps
    return True


def _equal(one: Volume, other: Volume) -> bool:
    if one.shape != other.shape or one.data.dtype != other.data.dtype:
        return False
    return np.array_equal(one.data, other.data, equal_nan=one.data.dtype.kind == "f")
