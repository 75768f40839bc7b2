"""What goes out: a case with its mask and what is known of it, and what was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, Proposal, Provenance, StructureReport
from diffseg.errors import UserError
from diffseg.volume import Grid, Source, Volume

_NOT_IN_NAMES = set('<>:"/\\|?*') | {chr(code) for code in range(32)}
_ARRAYS = (
    "mask", "probability", "uncertainty", "proposed", "members", "reviewed",
)  # fmt: skip


class Maker(Enum):
    """Who made a mask: a model, a person after a model, or a person alone."""

    MODEL = "AUTOMATIC"
    CORRECTED = "SEMIAUTOMATIC"
    PERSON = "MANUAL"


@dataclass(frozen=True, slots=True, eq=False)
class ExportCase:
    """A mask on its image's own grid, and what the formats say of it.

    Parameters
    ----------
    name : str
        What files are named by. It is never taken from a DICOM header: choose one
        that tells nothing of the patient.
    mask : (Z, Y, X) uint8 ndarray
        In the label table's values, 0 is background.
    labels : LabelTable
    grid, source : Grid, Source
        Where the voxels lie, and the image that they belong to.
    image : Volume, optional
        The image itself; nnU-Net and mean intensities need it.
    probability : (C, Z, Y, X) float ndarray, optional
        In [0, 1], classes in the table's order.
    uncertainty : (Z, Y, X) float ndarray, optional
        In [0, 1].
    proposed : (Z, Y, X) uint8 ndarray, optional
        What the ensemble proposed, in the table's values.
    members : (M, Z, Y, X) uint8 ndarray, optional
        Mask of each member, in the table's values.
    structures : tuple of StructureReport
        What the ensemble measured, where its members were not kept.
    reviewed : (Z, Y, X) bool ndarray, optional
        Voxels that a person has seen; all of them without it.
    provenance : Provenance, optional
        The model, its seed, members and steps; None where no model was used.
    maker : Maker
    frame : int
        Which frame of a DICOM series with several images at each position.

    Raises
    ------
    UserError
        The name cannot name a file, or the mask holds a value without a label.
    ValueError
        An array is not on the grid.
    """

    name: str
    mask: NDArray[np.uint8]
    labels: LabelTable
    grid: Grid
    source: Source
    image: Volume | None = None
    probability: NDArray[np.float32] | None = None
    uncertainty: NDArray[np.float32] | None = None
    proposed: NDArray[np.uint8] | None = None
    members: NDArray[np.uint8] | None = None
    structures: tuple[StructureReport, ...] = ()
    reviewed: NDArray[np.bool_] | None = None
    provenance: Provenance | None = None
    maker: Maker = Maker.PERSON
    frame: int = 0

    def __post_init__(self) -> None:
        if not self.name.strip(" .") or set(self.name) & _NOT_IN_NAMES:
            raise UserError(
                f"case name {self.name!r} cannot name a file; leave out "
                '< > : " / \\ | ? *'
            )
        for what in _ARRAYS:
            array = getattr(self, what)
            if array is not None and array.shape[-3:] != self.grid.shape:
                raise ValueError(f"{what} {array.shape}, grid {self.grid.shape}")
        if self.image is not None and self.image.shape != self.grid.shape:
            raise ValueError(f"image {self.image.shape}, grid {self.grid.shape}")
        labelled = np.zeros(256, np.bool_)
        labelled[[0, *self.labels.values]] = True
        strange = ~labelled[self.mask]
        if strange.any():
            unknown = np.unique(self.mask[strange]).tolist()
            known = ", ".join(str(value) for value in self.labels.values)
            raise UserError(
                f"{self.name}: mask values {unknown} are not labels; known: {known}"
            )

    @classmethod
    def of_proposal(
        cls, proposal: Proposal, name: str = "", image: Volume | None = None
    ) -> ExportCase:
        """Take a proposal as it is, uncorrected; named by its image without `name`."""
        return cls(
            name=name or proposal.source.stem,
            mask=proposal.mask,
            labels=proposal.labels,
            grid=proposal.grid,
            source=proposal.source,
            image=image,
            probability=proposal.probability,
            uncertainty=proposal.uncertainty,
            proposed=proposal.mask,
            members=proposal.members,
            structures=proposal.structures,
            provenance=proposal.provenance,
            maker=Maker.MODEL,
        )

    def classes_of(self, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn label values into class indices: 0, and `i` for ``labels[i - 1]``."""
        table = np.zeros(256, np.uint8)
        table[list(self.labels.values)] = np.arange(1, len(self.labels) + 1)
        return table[masks]


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How an export is done.

    Parameters
    ----------
    overwrite : bool
        Replace what an earlier export wrote, where nobody changed it since.
    when : datetime, optional
        The time that DICOM objects state; now, without it.
    dataset_number : int
        Of an nnU-Net data set, 1 to 999.
    dataset_name : str
        Of an nnU-Net data set: letters, digits and underscores.
    """

    overwrite: bool = False
    when: datetime | None = None
    dataset_number: int = 900
    dataset_name: str = "diffseg"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: its files, and what it had to decide, a line each."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = field(default=())
