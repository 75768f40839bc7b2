"""One slice of a case, small enough to keep: what a report shows of it."""

from __future__ import annotations

from collections.abc import Sequence
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
_CONTEXT_VOXELS = 10
_MOST_PIXELS = 640


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The middle slice of what reference or proposal hold, cut to what they hold.

    Parameters
    ----------
    score : CaseScore
        Of the whole case.
    plane : int
        Which plane of the image in radiological order (a raster's own order).
    image : (Y, X) or (Y, X, 3) float16 ndarray in [0, 1]
        In grey, its window set by the darkest and brightest half per cent of the
        slice; or in colour as it is.
    references : tuple of (Y, X) uint8 ndarrays
        Class indices of each rater, 0 for background.
    prediction : (Y, X) uint8 ndarray
        Class indices.
    uncertainty : (Y, X) float16 ndarray in [0, 1]
    aspect : float
        Height of a pixel over its width.
    """

    score: CaseScore
    plane: int
    image: NDArray[np.float16]
    references: tuple[NDArray[np.uint8], ...]
    prediction: NDArray[np.uint8]
    uncertainty: NDArray[np.float16]
    aspect: float


def picture_of(
    score: CaseScore,
    volume: Volume,
    proposal: Proposal,
    references: Sequence[NDArray[np.uint8]],
) -> Picture:
    """Cut the middle slice of a case.

    Parameters
    ----------
    references : sequence of (Z, Y, X) uint8 ndarrays
        Class indices in the order of the proposal's labels, one mask a rater.
    """
    prediction = class_indices(proposal.mask, proposal.labels, proposal.labels)
    photograph = volume.source.is_raster
    shown = volume.data if photograph and len(volume.data) == 3 else volume.data[:1]
    arrays = [prediction, proposal.uncertainty, *references, *shown]
    spacing = (1.0, 1.0, 1.0)
    if volume.grid.has_spacing:
        grid, turn = volume.grid.reoriented(RADIOLOGICAL)
        arrays = [turn.apply(array) for array in arrays]
        spacing = grid.spacing_zyx
    found = foreground_box(arrays[2], arrays[0], margin=0)
    planes = slice(0, len(arrays[0])) if found is None else found[0]
    plane = (planes.start + planes.stop - 1) // 2
    window = _window(arrays[2][plane], arrays[0][plane])
    predicted, uncertainty, *rest = (array[plane][window].copy() for array in arrays)
    masks, channels = rest[: len(references)], rest[len(references) :]
    return Picture(
        score=score,
        plane=plane,
        image=_in_window(channels),
        references=tuple(masks),
        prediction=predicted,
        uncertainty=uncertainty.astype(np.float16),
        aspect=float(spacing[1] / spacing[2]),
    )


def _window(
    reference: NDArray[np.uint8], prediction: NDArray[np.uint8]
) -> tuple[slice, slice]:
    """Part of a slice around both masks, thinned where it is larger than is shown."""
    rows, columns = np.nonzero((reference > 0) | (prediction > 0))

    def around(hits: NDArray[np.intp], size: int) -> slice:
        if not hits.size:
            return slice(0, size)
        margin = max(_CONTEXT_VOXELS, int(hits.max() - hits.min()) // 2)
        return slice(max(hits.min() - margin, 0), min(hits.max() + margin + 1, size))

    height, width = reference.shape
    both = around(rows, height), around(columns, width)
    step = -(-max(each.stop - each.start for each in both) // _MOST_PIXELS)
    y, x = (slice(each.start, each.stop, step) for each in both)
    return y, x


def _in_window(channels: Sequence[NDArray[Any]]) -> NDArray[np.float16]:
    """Grey between dark and bright; colour as it is, one window for all channels."""
    image = np.nan_to_num(np.stack(channels, axis=-1).astype(np.float32))
    if image.shape[-1] == 3:
        low, high = 0.0, float(255 if image.max() > 1 else 1)
    else:
        image = image[..., 0]
        low, high = (float(bound) for bound in np.percentile(image, (0.5, 99.5)))
    scaled = (image - low) / max(high - low, 1e-6)
    window: NDArray[np.float16] = np.clip(scaled, 0, 1).astype(np.float16)
    return window
