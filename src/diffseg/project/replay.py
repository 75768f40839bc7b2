"""A leftover becomes a mask again: every sound record on the newest sound base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, Label, LabelTable
from diffseg.errors import UserError
from diffseg.project.entries import Origin
from diffseg.project.facts import CaseFacts, read_facts
from diffseg.project.leftovers import NAMELESS, case_folder, dead_window
from diffseg.project.locks import guard
from diffseg.project.notebook import files_of
from diffseg.project.records import DamagedError, Header, Record, read_record
from diffseg.volume import Affine, Grid


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """A leftover's mask and all that belongs to it.

    Parameters
    ----------
    values : (Z, Y, X) uint8 ndarray
    touched : (Z, Y, X) bool ndarray
    proposed : (Z, Y, X) uint8 ndarray, optional
        As in `diffseg.project.annotation.Annotation`.
    grid : Grid
        Where the voxels lie.
    table : LabelTable
    labels : ImageLabels
    name : str
    paths : tuple of str
    frame : int, optional
    series : str, optional
        How to open the image again.
    warnings : tuple of str
        What is not as it was, one line each.
    origin : Origin, optional
        What of a project it comes from.
    """

    values: NDArray[np.uint8]
    touched: NDArray[np.bool_]
    proposed: NDArray[np.uint8] | None
    grid: Grid
    table: LabelTable
    labels: ImageLabels
    name: str
    paths: tuple[str, ...]
    frame: int | None
    series: str | None
    warnings: tuple[str, ...] = ()
    origin: Origin | None = None


def read_leftover(folder: Path, id: str) -> Restored:
    """Read a leftover; what is damaged is left out, with a warning.

    Raises
    ------
    UserError
        There is no such leftover, or nothing of it can be read.
    OSError
        The folder cannot be read or written to.
    """
    case = case_folder(folder, id)
    gone = UserError(f"what was left of {id} is no longer there")
    with guard(folder), dead_window(case.parent) as dead:
        if not (dead and case.is_dir()):
            raise gone
    return read_case(case)


def read_case(case: Path) -> Restored:
    """Read a case's folder, to which nobody writes; see `read_leftover`."""
    warnings: list[str] = []
    header, values, touched = _replay(case, warnings)
    facts = _facts_or_guess(case, header, values, warnings)
    if facts.grid.shape != values.shape:
        raise UserError(f"{facts.name}: its mask and its image differ in shape")
    warnings += facts.changes()
    return Restored(
        values=values,
        touched=touched,
        proposed=_proposed(case, facts.grid.shape, warnings),
        grid=facts.grid,
        table=facts.table,
        labels=facts.labels,
        name=facts.name,
        paths=facts.paths,
        frame=facts.frame,
        series=facts.series,
        warnings=tuple(warnings),
        origin=facts.origin,
    )


def _replay(
    case: Path, warnings: list[str]
) -> tuple[Header, NDArray[np.uint8], NDArray[np.bool_]]:
    """Put every sound record on the newest sound base, in order."""
    bases, strokes = files_of(case, "base"), files_of(case, "strokes")
    records = (
        record
        for path in reversed(bases.values())
        if (record := _sound(path)) is not None
    )
    base = next(records, None)
    covered = base.header.sequence if base else 0
    parts = [base] if base else []
    missing = 0
    for sequence in range(covered + 1, max([*bases, *strokes], default=0) + 1):
        record = _sound(strokes[sequence]) if sequence in strokes else None
        if record is None:
            missing += 1
        else:
            parts.append(record)
    if not parts:
        raise UserError(f"nothing of what was left in {case} can be read")
    if missing:
        warnings.append(
            f"{missing} of {missing + len(parts)} records are damaged: some of the "
            "corrections are lost; look the mask over"
        )
    header = parts[-1].header
    values = np.zeros(header.shape, np.uint8)
    touched = np.zeros(header.shape, np.bool_)
    for part in parts:
        _put(part, values.reshape(-1), touched.reshape(-1))
    return header, values, touched


def _sound(path: Path) -> Record | None:
    try:
        return read_record(path)
    except DamagedError:
        return None


def _put(record: Record, values: NDArray[np.uint8], touched: NDArray[np.bool_]) -> None:
    for part in record.dense:
        stop = part.start + len(part.values)
        values[part.start : stop] = part.values
        bits = np.unpackbits(part.touched, count=len(part.values))
        touched[part.start : stop] = bits.view(np.bool_)
    values[record.sparse.indices] = record.sparse.values
    touched[record.sparse.indices] = record.sparse.touched


def _proposed(
    case: Path, shape: tuple[int, int, int], warnings: list[str]
) -> NDArray[np.uint8] | None:
    for path in reversed(files_of(case, "proposed").values()):
        record = _sound(path)
        if record is not None and record.header.shape == shape:
            flat = np.zeros(shape, np.uint8).reshape(-1)
            for part in record.dense:
                flat[part.start : part.start + len(part.values)] = part.values
            flat.setflags(write=False)
            return flat.reshape(shape)
        warnings.append("the proposal is damaged; propose again to compare with it")
    return None


def _facts_or_guess(
    case: Path, header: Header, values: NDArray[np.uint8], warnings: list[str]
) -> CaseFacts:
    try:
        return read_facts(case)
    except DamagedError:
        warnings.append("which image and which labels these are is lost")
    found = [int(value) for value in np.unique(values) if value] or [1]
    table = LabelTable(labels=tuple(Label(name=f"label {v}", value=v) for v in found))
    grid = Grid(header.shape, Affine.identity(), has_spacing=False)
    return CaseFacts(NAMELESS, (), grid, table, ImageLabels())
