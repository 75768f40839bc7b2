"""Whether a DICOM header says how its rows and columns lie in the patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.volume.affine import Affine
from diffseg.volume.grid import Grid

NO_SIDES = "the header gives no orientation: which side is left is not known"
_EDGES_ONLY = (
    "the header names the sides of the edges (PatientOrientation), and no orientation "
    "in the patient: shown as stored"
)
_SAME_COSINE = 0.99
# Head and feet are superior and inferior; of an oblique axis the first letter leads.
_LETTERS = {"L": "L", "R": "R", "P": "P", "A": "A", "H": "S", "F": "I"}
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def with_sides(grid: Grid, header: Any) -> tuple[Grid, list[str]]:
    """Return `grid` with what the header says of the patient's sides, and notes.

    They are known where ImageOrientationPatient is there, at the top or in the
    functional groups, and the grid's directions are the ones that it says.
    """
    if any(_agrees(cosines, grid.affine) for cosines in _orientations(header)):
        return grid, []
    columns_to, rows_to = _edges(header)
    grid = replace(grid, has_sides=False, named=("", rows_to, columns_to))
    return grid, [_EDGES_ONLY if columns_to and rows_to else NO_SIDES]


def _orientations(header: Any) -> Iterator[NDArray[np.float64]]:
    """(2, 3) direction cosines in LPS+ of a row and of a column."""
    planes = [header]
    for name in _GROUPS:
        for group in (header.get(name) or [])[:1]:
            planes += (group.get("PlaneOrientationSequence") or [])[:1]
    for plane in planes:
        cosines = plane.get("ImageOrientationPatient")
        if cosines is not None and len(cosines) == 6:
            yield np.reshape(np.array(cosines, np.float64), (2, 3))


def _agrees(cosines: NDArray[np.float64], affine: Affine) -> bool:
    lps = cosines * np.array([-1.0, -1.0, 1.0])
    along = (lps * affine.direction[:, :2].T).sum(axis=1)
    return bool((along > _SAME_COSINE * np.linalg.norm(cosines, axis=1)).all())


def _edges(header: Any) -> tuple[str, str]:
    """Sides that columns and rows run to, ("", "") where they are not told."""
    words = header.get("PatientOrientation")
    if words is None or isinstance(words, str) or len(words) != 2:
        return ("", "")
    columns_to, rows_to = (_LETTERS.get(str(word)[:1].upper(), "") for word in words)
    if not columns_to or not rows_to or columns_to == rows_to:
        return ("", "")
    return (columns_to, rows_to)
