"""What comes from a window meets what its project has: masks, and label tables."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.project.entries import Origin


class Mask(Protocol):
    """A mask that comes from a project's case."""

    @property
    def values(self) -> NDArray[np.uint8]:
        """(Z, Y, X) mask."""

    @property
    def touched(self) -> NDArray[np.bool_]:
        """(Z, Y, X) voxels that a person set."""

    @property
    def origin(self) -> Origin | None:
        """Where it comes from."""


def merged(known: LabelTable | None, table: LabelTable) -> LabelTable:
    """A table with those labels of the project's that it neither has nor excludes."""
    if known is None:
        return table
    more = tuple(
        label
        for label in known.each()
        if label.value not in table.values and label.name not in table.names
    )
    both = (*table.each(), *more)
    order = {label.value: place for place, label in enumerate(known.each())}
    rows = sorted(both, key=lambda label: order.get(label.value, len(order)))
    return LabelTable(labels=tuple(rows))
