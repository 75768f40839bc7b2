"""One proposal against one reference: everything an evaluation keeps of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, Proposal
from diffseg.metrics import (
    CalibrationCounts,
    Confusion,
    ErrorRanking,
    confusion,
    foreground_box,
    surface_distances,
)

Numbers = Mapping[str, float | None]
BOX_MARGIN = 5
"""Voxels by which the box of reference and prediction is widened."""
NSD_TOLERANCE_MM = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class CaseScore:
    """Scores of one case; small enough to keep for all cases.

    Parameters
    ----------
    case, group : str
    dice, iou, hd95_mm, nsd_2mm : mapping of name to float or None
        For each structure; None where undefined.
    dice_foreground : float
        Dice of all structures merged into one.
    present : frozenset of str
        Structures that the reference holds.
    volumes_ml : mapping of name to (reference, p05, p95)
        Volume of the reference and the members' 5 % and 95 % quantiles, ml;
        None without a spacing or with one member.
    expected_dice : mapping of name to float or None
        Mean Dice between pairs of members; None with one member.
    calibration, calibration_box : CalibrationCounts
        Over the native grid, and inside the widened box of both masks.
    ranking : ErrorRanking
        Uncertainty of wrong and of right voxels, in coarse bins.
    seconds : float
        Time that the proposal took.
    """

    case: str
    group: str
    dice: Mapping[str, float]
    iou: Mapping[str, float]
    hd95_mm: Numbers
    nsd_2mm: Numbers
    dice_foreground: float
    present: frozenset[str]
    volumes_ml: Mapping[str, tuple[float | None, float | None, float | None]]
    expected_dice: Numbers
    calibration: CalibrationCounts
    calibration_box: CalibrationCounts
    ranking: ErrorRanking
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def dice_macro(self) -> float:
        """Mean Dice over structures."""
        return float(np.mean(list(self.dice.values())))

    def as_json(self) -> dict[str, Any]:
        """The case's entry in ``metrics.json``."""
        return {
            "case": self.case,
            "group": self.group,
            "dice": dict(self.dice),
            "iou": dict(self.iou),
            "hd95_mm": dict(self.hd95_mm),
            "nsd_2mm": dict(self.nsd_2mm),
            "dice_foreground": self.dice_foreground,
            "ece": self.calibration.ece,
            "seconds": self.seconds,
            "warnings": list(self.warnings),
        }


def class_indices(
    mask: NDArray[np.uint8], table: LabelTable, order: LabelTable
) -> NDArray[np.uint8]:
    """Turn mask values of `table` into 1-based class indices of `order`, by name.

    Returns
    -------
    ndarray of the same shape
        0 for background, `i + 1` for the structure ``order.names[i]``.
    """
    lookup = np.zeros(256, dtype=np.uint8)
    for label in table.each():
        lookup[label.value] = order.index(label.name) + 1
    return lookup[mask]


def score_case(
    case: str,
    group: str,
    proposal: Proposal,
    reference: NDArray[np.uint8],
    seconds: float,
) -> tuple[CaseScore, ErrorRanking]:
    """Score a proposal.

    Parameters
    ----------
    case, group : str
        Names of the case and of its patient.
    proposal : Proposal
    reference : (Z, Y, X) uint8 ndarray
        Class indices in the order of the proposal's labels, 0 for background.
    seconds : float
        Time that the proposal took.

    Returns
    -------
    CaseScore, ErrorRanking
        The ranking is the case's own in full resolution, to be added up and
        let go; the score keeps a coarse one.
    """
    labels = proposal.labels
    predicted = class_indices(proposal.mask, labels, labels)
    calibration, box = _calibration(proposal.probability, predicted, reference)
    ranking = ErrorRanking().add(proposal.uncertainty, predicted != reference)
    overlaps = {
        name: confusion(predicted, reference, i + 1)
        for i, name in enumerate(labels.names)
    }
    anything = [np.minimum(mask, 1) for mask in (predicted, reference)]
    merged = confusion(anything[0], anything[1])
    surfaces = _surfaces(proposal, predicted, reference)
    score = CaseScore(
        case=case,
        group=group,
        dice={name: overlap.dice for name, overlap in overlaps.items()},
        iou={name: overlap.iou for name, overlap in overlaps.items()},
        hd95_mm={name: pair[0] for name, pair in surfaces.items()},
        nsd_2mm={name: pair[1] for name, pair in surfaces.items()},
        dice_foreground=merged.dice,
        present=frozenset(n for n, o in overlaps.items() if _reference_voxels(o)),
        volumes_ml=_volumes(proposal, overlaps),
        expected_dice={s.name: s.expected_dice for s in proposal.structures},
        calibration=calibration,
        calibration_box=box,
        ranking=coarse(ranking),
        seconds=seconds,
        warnings=proposal.warnings,
    )
    return score, ranking


def coarse(ranking: ErrorRanking, bins: int = 2048) -> ErrorRanking:
    """Sum neighbouring bins, so that a ranking of every case can be kept."""
    return ErrorRanking(
        ranking.wrong.reshape(bins, -1).sum(axis=1),
        ranking.right.reshape(bins, -1).sum(axis=1),
    )


def _calibration(
    probability: NDArray[np.float32],
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
) -> tuple[CalibrationCounts, CalibrationCounts]:
    # What the foreground classes leave; rounding may leave a hair below 0.
    background = np.clip(1 - probability.sum(axis=0, keepdims=True), 0, 1)
    full = np.concatenate([background, probability])
    nothing = CalibrationCounts()
    found = foreground_box(reference, predicted, BOX_MARGIN)
    box = nothing if found is None else nothing.add(full[:, *found], reference[found])
    return nothing.add(full, reference), box


def _surfaces(
    proposal: Proposal, predicted: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> dict[str, tuple[float | None, float | None]]:
    """HD95 (mm) and normalised surface Dice of each structure."""
    grid = proposal.grid
    spacing = grid.spacing_zyx if grid.has_spacing else None
    result: dict[str, tuple[float | None, float | None]] = {}
    for i, name in enumerate(proposal.labels.names):
        found = surface_distances(predicted, reference, spacing, i + 1)
        result[name] = (
            (None, None)
            if found is None
            else (found.hd95_mm, found.nsd(NSD_TOLERANCE_MM))
        )
    return result


def _volumes(
    proposal: Proposal, overlaps: Mapping[str, Confusion]
) -> dict[str, tuple[float | None, float | None, float | None]]:
    voxel_ml = proposal.grid.voxel_ml
    # One draw has no spread: its "interval" is a point that covers by accident.
    if voxel_ml is None or proposal.provenance.members < 2:
        return dict.fromkeys(proposal.labels.names, (None, None, None))
    return {
        s.name: (
            _reference_voxels(overlaps[s.name]) * voxel_ml,
            s.volume_ml_p05,
            s.volume_ml_p95,
        )
        for s in proposal.structures
    }


def _reference_voxels(overlap: Confusion) -> int:
    return overlap.true_positive + overlap.false_negative
