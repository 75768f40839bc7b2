"""A case's mask as a file of another program: Slicer, DICOM-SEG, a table."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffseg.domain import LabelTable
from diffseg.errors import DiffsegError
from diffseg.volume import Grid, Source, atomic_write_bytes

if TYPE_CHECKING:
    from diffseg.project.exporting import ExportCase
    from napari_diffseg.presenters.files import Export

SEG_NRRD, DICOM_SEG, CSV = ".seg.nrrd", ".dcm", ".csv"
OTHERS = {
    "3D Slicer (.seg.nrrd)": SEG_NRRD,
    "DICOM-SEG (.dcm)": DICOM_SEG,
    "Measurements (.csv)": CSV,
}
"""Formats by name, with the suffix of their files."""


def others_of(grid: Grid, source: Source) -> tuple[str, ...]:
    """Names of the formats that fit an image."""
    straight = grid.affine.is_orthogonal
    fits = {
        SEG_NRRD: grid.has_spacing and straight,
        DICOM_SEG: source.format == "dicom"
        and straight
        and find_spec("highdicom") is not None,
        CSV: True,
    }
    return tuple(name for name, suffix in OTHERS.items() if fits[suffix])


def suffix_of(path: Path) -> str:
    """Which of the other formats a path names; "" for none."""
    name = path.name.lower()
    return next((one for one in OTHERS.values() if name.endswith(one)), "")


def write_other(aside: Path, export: Export) -> None:
    """Write a mask, or what it measures, and read it back.

    Parameters
    ----------
    aside : path
        Where it is written until it is known to be right; its suffix says as what.
    export : Export

    Raises
    ------
    UserError
        The format cannot hold the mask, or the file cannot be written.
    DiffsegError
        What was written does not read back as what was meant.
    """
    from diffseg.project import exporting
    from diffseg.project.exporting.measures import table_text

    case, kind = _case_of(export), suffix_of(aside)
    if kind == CSV:
        text = table_text(exporting.measures_of(case))
        atomic_write_bytes(aside, text.encode("utf-8"))
        return
    if kind == DICOM_SEG:
        exporting.write_dicom_seg(aside, case)
        back, table = exporting.read_dicom_seg(aside, case.grid)
    else:
        exporting.write_seg_nrrd(aside, case)
        back, table, _ = exporting.read_seg_nrrd(aside, like=case.grid)
    turn = np.zeros(256, np.uint8)
    for mine, read in zip(case.labels.values, table.values, strict=True):
        turn[read] = mine
    if not np.array_equal(turn[back], case.mask):
        raise DiffsegError(
            f"{export.path.name} was not written: it read back with other voxels than "
            "the mask has; choose another format"
        )


def _case_of(export: Export) -> ExportCase:
    from diffseg.project.exporting import ExportCase, Maker

    table, proposal = LabelTable(labels=export.labels), export.proposal
    mine = proposal is not None and (
        (proposal.labels.names, proposal.labels.values) == (table.names, table.values)
    )
    maker = Maker.PERSON
    if proposal is not None:
        maker = Maker.CORRECTED if export.changed or export.touched else Maker.MODEL
    whole = proposal if mine and export.whole else None
    return ExportCase(
        name=export.path.name.removesuffix(suffix_of(export.path)),
        mask=export.values,
        labels=table,
        grid=export.grid,
        source=export.source,
        image=export.image,
        uncertainty=None if whole is None else whole.uncertainty,
        proposed=None if whole is None else whole.mask,
        members=None if whole is None else whole.members,
        provenance=None if proposal is None else proposal.provenance,
        maker=maker,
    )
