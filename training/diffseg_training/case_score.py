"""One proposal against one reference: everything an evaluation keeps of a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, Proposal
from diffseg.metrics import Confusion, confusion, surface_distances
from diffseg_training.case_raters import RaterScore, score_raters
from diffseg_training.case_trust import Rankings, Trust, trust_of

Numbers = Mapping[str, float | None]
NSD_TOLERANCE_MM = 2.0
NSD_TOLERANCE_PX = 2.0
SURFACES = ("hd95_mm", "nsd_2mm", "hd95_px", "nsd_2px")


@dataclass(frozen=True, slots=True, eq=False)
class CaseScore:
    """Scores of one case; small enough to keep for all cases.

    Parameters
    ----------
    case, group : str
    counts : mapping of name to Confusion
        Voxels of each structure: found, found wrongly, missed.
    merged : Confusion
        The same of all structures merged into one.
    hd95_mm, nsd_2mm : mapping of name to float or None
        For each structure; None where undefined, or without a spacing.
    hd95_px, nsd_2px : mapping of name to float or None
        The same in voxels; None where there is a spacing.
    volumes_ml : mapping of name to (reference, p05, p95)
        Volume of the reference and the members' 5 % and 95 % quantiles, ml;
        None without a spacing or with one member.
    expected_dice : mapping of name to float or None
        Mean Dice between pairs of members; None with one member.
    grid, box : Trust
        Over the native grid, and inside the widened box of both masks.
    raters : RaterScore, optional
        Against all raters, where the case has several.
    seconds : float
        Time that the proposal took.
    """

    case: str
    group: str
    counts: Mapping[str, Confusion]
    merged: Confusion
    hd95_mm: Numbers
    nsd_2mm: Numbers
    hd95_px: Numbers
    nsd_2px: Numbers
    volumes_ml: Mapping[str, tuple[float | None, float | None, float | None]]
    expected_dice: Numbers
    grid: Trust
    box: Trust
    raters: RaterScore | None
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def dice(self) -> dict[str, float]:
        """Dice of each structure."""
        return {name: counts.dice for name, counts in self.counts.items()}

    @property
    def iou(self) -> dict[str, float]:
        """Intersection over union of each structure."""
        return {name: counts.iou for name, counts in self.counts.items()}

    @property
    def present(self) -> frozenset[str]:
        """Structures that the reference holds."""
        return frozenset(n for n, c in self.counts.items() if _reference_voxels(c))

    @property
    def dice_foreground(self) -> float:
        """Dice of all structures merged into one."""
        return self.merged.dice

    @property
    def iou_macro(self) -> float:
        """Mean IoU over structures."""
        return float(np.mean(list(self.iou.values())))

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
            **{kind: dict(getattr(self, kind)) for kind in SURFACES},
            "counts": {name: _as_json(one) for name, one in self.counts.items()},
            "dice_foreground": self.dice_foreground,
            "ece": self.grid.top_label.ece,
            "ece_box": self.box.top_label.ece,
            "ece_binary": {n: one.ece for n, one in self.grid.binary.items()},
            "raters": None if self.raters is None else self.raters.as_json(),
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
    references: Sequence[NDArray[np.uint8]],
    seconds: float,
) -> tuple[CaseScore, Rankings]:
    """Score a proposal.

    Parameters
    ----------
    case, group : str
        Names of the case and of its patient.
    proposal : Proposal
        With its members, where there are several references.
    references : sequence of (Z, Y, X) uint8 ndarrays
        Class indices in the order of the proposal's labels, 0 for background. The
        first is the one that is scored against; others are further raters'.
    seconds : float
        Time that the proposal took.

    Returns
    -------
    CaseScore, Rankings
        The rankings are the case's own in full resolution, to be added up and
        let go; the score keeps coarse ones.
    """
    labels, reference = proposal.labels, references[0]
    predicted = class_indices(proposal.mask, labels, labels)
    grid, box, rankings = trust_of(proposal, predicted, reference)
    overlaps = count_structures(predicted, reference, labels)
    anything = [np.minimum(mask, 1) for mask in (predicted, reference)]
    raters = None
    if len(references) > 1:
        members = _members(proposal)
        raters, doubt = score_raters(proposal, predicted, members, references)
        rankings = replace(rankings, raters=doubt)
    score = CaseScore(
        case=case,
        group=group,
        counts=overlaps,
        merged=confusion(anything[0], anything[1]),
        **_surfaces(proposal, predicted, reference),
        volumes_ml=_volumes(proposal, overlaps),
        expected_dice={s.name: s.expected_dice for s in proposal.structures},
        grid=grid,
        box=box,
        raters=raters,
        seconds=seconds,
        warnings=proposal.warnings,
    )
    return score, rankings


def count_structures(
    predicted: NDArray[np.uint8], reference: NDArray[np.uint8], labels: LabelTable
) -> dict[str, Confusion]:
    """Count the voxels of each structure, of two masks of class indices."""
    return {
        name: confusion(predicted, reference, i + 1)
        for i, name in enumerate(labels.names)
    }


def _members(proposal: Proposal) -> NDArray[np.uint8]:
    """Masks of the members in class indices; a single one is the proposal itself."""
    members = proposal.members
    if members is None:
        if proposal.provenance.members > 1:
            raise ValueError("several raters need the proposal's members")
        members = proposal.mask[None]
    return class_indices(members, proposal.labels, proposal.labels)


def _surfaces(
    proposal: Proposal, predicted: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> dict[str, dict[str, float | None]]:
    """HD95 and normalised surface Dice of each structure, in mm or else in voxels."""
    names, grid = proposal.labels.names, proposal.grid
    result = {kind: dict[str, float | None].fromkeys(names) for kind in SURFACES}
    spacing, unit, tolerance = (1.0, 1.0, 1.0), "px", NSD_TOLERANCE_PX
    if grid.has_spacing:
        spacing, unit, tolerance = grid.spacing_zyx, "mm", NSD_TOLERANCE_MM
    for i, name in enumerate(names):
        found = surface_distances(predicted, reference, spacing, i + 1)
        if found is not None:
            result[f"hd95_{unit}"][name] = found.hd95_mm
            result[f"nsd_2{unit}"][name] = found.nsd(tolerance)
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


def _as_json(counts: Confusion) -> dict[str, int]:
    return {
        "tp": counts.true_positive,
        "fp": counts.false_positive,
        "fn": counts.false_negative,
    }
