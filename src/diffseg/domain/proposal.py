"""What a segmenter answers: masks, how sure it is, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.labels import LabelTable

if TYPE_CHECKING:
    from diffseg.volume import Grid, Source


@dataclass(frozen=True, slots=True)
class StructureReport:
    """Measurements of one structure of a proposal.

    Volumes are in ml and None without a spacing; `volume_ml_p05` and
    `volume_ml_p95` span the 5 % and 95 % quantiles over members.
    `expected_dice` is the mean Dice between pairs of members, None with one.
    `predicted_dice` is what a calibrated model predicts of the mask's Dice with a
    reference, between `predicted_dice_p05` and `predicted_dice_p95` in nine of ten
    cases; None of a model that does not.
    """

    name: str
    label: int
    voxels: int
    volume_ml: float | None
    volume_ml_p05: float | None
    volume_ml_p95: float | None
    expected_dice: float | None
    predicted_dice: float | None = None
    predicted_dice_p05: float | None = None
    predicted_dice_p95: float | None = None


@dataclass(frozen=True, slots=True)
class RegionReport:
    """Where the segmenter looked: a named box, how it was found, what it holds.

    `box` is in voxels of the source grid, (plane, row, column), half-open.
    `volume_ml` maps each structure's name to its volume within the box.
    """

    name: str
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    found_by: str
    volume_ml: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything needed to make the same proposal again.

    `model` holds id, version, sha256, licence and calibration (None, or what
    `diffseg.ensemble.calibration.Calibration.brief` tells); `seconds` holds load,
    prepare, sample and write; `text` what was looked for, if it was said in words.
    """

    model: dict[str, Any]
    seed: int
    members: int
    steps: int
    device: str
    threads: int
    seconds: dict[str, float]
    text: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """An ensemble's answer on the grid of the volume it was asked about.

    Parameters
    ----------
    mask : (Z, Y, X) uint8 ndarray
        Consensus mask in the label table's values, 0 is background.
    probability : (C, Z, Y, X) float32 ndarray
        Probability of each foreground class in [0, 1].
    uncertainty : (Z, Y, X) float32 ndarray
        Predictive entropy over background and classes divided by the
        logarithm of their number, in [0, 1].
    grid, source : Grid, Source
        Where the voxels lie, and the file whose header the masks go back to.
    members : (M, Z, Y, X) uint8 ndarray, optional
        Mask of each member, where they were kept.
    """

    mask: NDArray[np.uint8]
    probability: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    labels: LabelTable
    grid: Grid
    source: Source
    provenance: Provenance
    structures: tuple[StructureReport, ...] = ()
    regions: tuple[RegionReport, ...] = ()
    mutual_information_mean: float | None = None
    members: NDArray[np.uint8] | None = None
    warnings: tuple[str, ...] = field(default=())

    def report(self) -> dict[str, Any]:
        """The content of ``<stem>_report.json``."""
        from diffseg.domain.report import report_of

        return report_of(self)

    def save(
        self,
        folder: str | Path,
        *,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Write masks and report into `folder` on the source's grid.

        Returns the report. See `diffseg.domain.report.save_proposal`.
        """
        from diffseg.domain.report import save_proposal

        return save_proposal(self, Path(folder), overwrite=overwrite)
