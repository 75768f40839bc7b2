"""What a proposal is summed up in, once: a row for the case, a file for its slices.

A queue of thousands of cases is ordered by the rows alone. Summaries are made again
wherever they are missing: in a project of an older schema, or after a repair.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert

from diffseg.domain import LabelTable, Proposal
from diffseg.ensemble.expected import expected_structures, slice_errors
from diffseg.ensemble.routing import (
    CLAIMED,
    HISTOGRAM,
    Candidate,
    candidate_of,
    slice_candidates,
)
from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.sources import file_digest
from diffseg.volume import atomic_write_bytes

SLICES = "slices.npy"
_PLAIN = 2 + len(HISTOGRAM)  # numbers of a candidate that do not count structures
_BLOCKS = 6  # those that do: volume, three of the centroid, doubt, expected Dice
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """A proposal in a few numbers.

    Parameters
    ----------
    names : (C,) tuple of str
        The structures, in the order of all that has one number a structure.
    whole : Candidate
    slices : tuple of Candidate
        Planes of the image in which a structure is claimed; in the others nothing is
        expected to be wrong.
    wrong : tuple of float
        Of each of them, voxels that are expected to be wrong.
    """

    names: tuple[str, ...]
    whole: Candidate
    slices: tuple[Candidate, ...]
    wrong: tuple[float, ...]


def summary_of(
    case_id: str,
    labels: LabelTable,
    probability: NDArray[np.float32],
    mask: NDArray[np.uint8],
    uncertainty: NDArray[np.float32],
    members: NDArray[np.uint8] | None = None,
    predicted: Sequence[float] | None = None,
) -> Summary:
    """Sum a proposal up.

    Parameters
    ----------
    case_id : str
    labels : LabelTable
    probability : (C, Z, Y, X) ndarray in [0, 1]
    mask : (Z, Y, X) uint8 ndarray
        In the table's values.
    uncertainty : (Z, Y, X) ndarray in [0, 1]
    members : (M, Z, Y, X) uint8 ndarray, optional
        In the table's values; without them mutual information is not known.
    predicted : (C,) sequence of float, optional
        Dice of each structure, as a calibrated model predicts it.
    """
    classes = _classes(mask, labels)
    some = None if members is None else _classes(members, labels)
    if predicted is None:
        # Of voxels that are claimed alone: the rest of a large volume adds up to
        # doubts about structures that nobody sees there.
        claimed = (probability >= CLAIMED).any(axis=0) | (classes > 0)
        predicted = expected_structures(probability[:, claimed], classes[claimed])
    whole = candidate_of(case_id, probability, classes, uncertainty, some, predicted)
    slices = slice_candidates(case_id, probability, classes, uncertainty, some)
    wrong = []
    for one in slices:
        assert one.slice is not None
        at = slice(one.slice, one.slice + 1)
        wrong.append(float(slice_errors(probability[:, at], classes[at]).wrong[0]))
    return Summary(labels.names, whole, tuple(map(_claimed, slices)), tuple(wrong))


def summary_of_proposal(case_id: str, proposal: Proposal) -> Summary:
    """Sum a proposal up, with its members where they were kept."""
    told = {one.name: one.predicted_dice for one in proposal.structures}
    values = [told.get(name) for name in proposal.labels.names]
    predicted = [value for value in values if value is not None]
    return summary_of(
        case_id,
        proposal.labels,
        proposal.probability,
        proposal.mask,
        proposal.uncertainty,
        proposal.members,
        predicted if len(predicted) == len(values) else None,
    )


def packed(one: Candidate) -> Floats:
    """A candidate as (6 C + 7,) numbers: its fields in their order."""
    information = np.nan if one.information is None else one.information
    return np.concatenate(
        [
            one.volumes, np.ravel(one.centroids), one.doubts,
            [one.entropy, information], one.expected_dice, one.histogram,
        ]
    ).astype("<f8")  # fmt: skip


def unpacked(
    cases: Sequence[str], numbers: Floats, slices: Sequence[int | None] | None = None
) -> tuple[Candidate, ...]:
    """Candidates again, of (N, 6 C + 7) numbers.

    Parameters
    ----------
    cases : (N,) sequence of str
    numbers : (N, 6 C + 7) ndarray
    slices : (N,) sequence of int, optional
        Planes; of whole cases without it.
    """
    count = (numbers.shape[1] - _PLAIN) // _BLOCKS
    ends = np.cumsum([count, 3 * count, count, 1, 1, count])
    parts = np.split(numbers, ends, axis=1)
    volumes, flat, doubts, entropy, information, dice, histogram = parts
    columns = (
        cases,
        [None] * len(cases) if slices is None else slices,
        map(tuple, volumes.tolist()),
        (tuple(map(tuple, row)) for row in flat.reshape(-1, count, 3).tolist()),
        map(tuple, doubts.tolist()),
        entropy[:, 0].tolist(),
        (None if value != value else value for value in information[:, 0].tolist()),
        map(tuple, dice.tolist()),
        map(tuple, histogram.tolist()),
    )
    return tuple(Candidate(*row) for row in zip(*columns, strict=True))


def write_slices(path: Path, summary: Summary) -> None:
    """Write what is known of slices: (N, 2 + 6 C + 7), plane and wrong voxels first."""
    count = len(summary.names)
    rows = np.empty((len(summary.slices), 2 + _BLOCKS * count + _PLAIN), "<f8")
    for row, one, wrong in zip(rows, summary.slices, summary.wrong, strict=True):
        row[:2] = one.slice, wrong
        row[2:] = packed(one)
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    atomic_write_bytes(path, buffer.getvalue())


def read_slices(
    path: Path, sha256: str, case_id: str
) -> tuple[tuple[Candidate, ...], tuple[float, ...]]:
    """Read what `write_slices` wrote: slices, and wrong voxels of each.

    Raises
    ------
    UserError
        The file is missing, or was changed since.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; see diffseg project check")
    if file_digest(path) != sha256:
        raise UserError(
            f"{path} was changed outside of the project; see diffseg project check"
        )
    rows = np.load(path, allow_pickle=False)
    planes = rows[:, 0].astype(int).tolist()
    slices = unpacked([case_id] * len(rows), rows[:, 2:], planes)
    return slices, tuple(rows[:, 1].tolist())


def insert_summary(db: Connection, proposal_id: str, summary: Summary) -> None:
    """Add a proposal's row of numbers."""
    row = {
        "proposal": proposal_id,
        "labels": json.dumps(summary.names),
        "numbers": packed(summary.whole).tobytes(),
    }
    db.execute(insert(schema.summaries), row)


def _classes(masks: NDArray[np.uint8], labels: LabelTable) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(labels.values)] = np.arange(1, len(labels) + 1)
    return table[masks]


def _claimed(one: Candidate) -> Candidate:
    """A slice without what is expected of structures that nothing claims there."""
    here: list[Any] = [
        dice if volume > 0 or doubt > 0 else 1.0
        for volume, doubt, dice in zip(
            one.volumes, one.doubts, one.expected_dice, strict=True
        )
    ]
    return replace(one, expected_dice=tuple(here))
