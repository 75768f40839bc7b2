"""Two readings become one mask: by majority, or by STAPLE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.ensemble import consensus, staple, with_background
from diffseg.errors import UserError
from diffseg.project.review.agreement import Mask, readings
from diffseg.project.store import (
    Correction,
    Project,
    add_correction,
    case_of,
    label_table,
    newest_correction,
)

Method = Literal["majority", "staple"]
METHODS: tuple[Method, ...] = ("majority", "staple")


def agreed_mask(
    masks: Sequence[Mask], table: LabelTable, method: Method = "staple"
) -> Mask:
    """Make one mask of several readings.

    Parameters
    ----------
    masks : sequence of (Z, Y, X) uint8 ndarray
        In the table's values, 1 or more.
    table : LabelTable
    method : {"majority", "staple"}
        ``majority``: the class of most readings; of a tie background, then the
        earlier class of the table, so that of two readings only what both drew is
        left. ``staple``: Warfield et al. 2004, structure by structure, which weighs
        each reading by its sensitivity and specificity; of two readings it tends to
        what either drew.

    Returns
    -------
    (Z, Y, X) uint8 ndarray
        In the table's values.
    """
    if method == "majority":
        classes = consensus(_votes(masks, table)).classes
    else:
        foreground = np.stack(
            [
                staple(np.stack([mask == value for mask in masks])).probability
                for value in table.values
            ]
        )
        probability = with_background(foreground.astype(np.float32))
        classes = probability.argmax(axis=0).astype(np.uint8)
    values = np.array([0, *table.values], np.uint8)
    return values[classes]


def save_consensus(
    project: Project, case_id: str, *, annotator: str, method: Method = "staple"
) -> Correction:
    """Save the consensus of both readings as the case's newest version.

    Raises
    ------
    UserError
        A reading is not done, there is no such method, or the mask cannot be saved.
    """
    if method not in METHODS:
        raise UserError(
            f"there is no consensus {method!r}; choose one of {', '.join(METHODS)}",
            option="--consensus",
        )
    table = label_table(project)
    if table is None:
        raise UserError("the project has no labels yet; there is nothing to agree on")
    masks = readings(project, case_of(project, case_id))
    newest = newest_correction(project, case_id)
    return add_correction(
        project, case_id, agreed_mask(masks, table, method),
        annotator=annotator, parent=None if newest is None else newest.id,
    )  # fmt: skip


def _votes(masks: Sequence[Mask], table: LabelTable) -> Iterator[NDArray[np.float32]]:
    for mask in masks:
        classes = [mask == value for value in (0, *table.values)]
        yield np.stack(classes).astype(np.float32)
