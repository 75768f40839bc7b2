"""One slice of a case, small enough to keep: what a report shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal
from diffseg.metrics import foreground_box
from diffseg.volume import Volume
from diffseg_training.case_score import CaseScore, class_indices

RADIOLOGICAL = "LPS"
"""Rows run to the back and columns to the patient's left, as on a light box."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A slice through the middle of what reference or proposal hold.

    Parameters
    ----------
    score : CaseScore
        Of the whole case.
    plane : int
        Which plane of the image in radiological order (a raster's own order).
    image, uncertainty : (Y, X) float ndarrays
    reference, prediction : (Y, X) uint8 ndarrays
        Class indices, 0 for background.
    aspect : float
        Height of a pixel over its width.
    """

    score: CaseScore
    plane: int
    image: NDArray[np.floating[Any]]
    reference: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    aspect: float


def picture_of(
    score: CaseScore,
    volume: Volume,
    proposal: Proposal,
    reference: NDArray[np.uint8],
) -> Picture:
    """Cut the middle slice of a case.

    Parameters
    ----------
    reference : (Z, Y, X) uint8 ndarray
        Class indices in the order of the proposal's labels.
    """
    prediction = class_indices(proposal.mask, proposal.labels, proposal.labels)
    # A photograph's channels are one picture; a scan's are pictures of their own.
    shown = volume.data[:3].mean(axis=0) if volume.source.is_raster else volume.data[0]
    arrays = [shown, reference, prediction, proposal.uncertainty]
    spacing = (1.0, 1.0, 1.0)
    if volume.grid.has_spacing:
        grid, turn = volume.grid.reoriented(RADIOLOGICAL)
        arrays = [turn.apply(array) for array in arrays]
        spacing = grid.spacing_zyx
    found = foreground_box(arrays[1], arrays[2], margin=0)
    planes = slice(0, len(arrays[0])) if found is None else found[0]
    plane = (planes.start + planes.stop - 1) // 2
    image, wanted, predicted, uncertainty = (array[plane].copy() for array in arrays)
    return Picture(
        score=score,
        plane=plane,
        image=np.nan_to_num(image.astype(np.float32)),
        reference=wanted,
        prediction=predicted,
        uncertainty=uncertainty,
        aspect=float(spacing[1] / spacing[2]),
    )
