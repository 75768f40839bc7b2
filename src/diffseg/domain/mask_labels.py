"""A mask reduced to image-level labels, and labels that a mask contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.labels import LabelTable
from diffseg.domain.slice_labels import ABSENT, CODES, PRESENT, UNKNOWN, SliceLabels


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A slice of which a label says another thing than its mask.

    Parameters
    ----------
    case, name : str
    plane : int
    said : str
        present or absent.
    voxels : int
        That the mask has of the structure there.
    """

    case: str
    name: str
    plane: int
    said: str
    voxels: int

    def __str__(self) -> str:
        return (
            f"case {self.case} slice {self.plane}: {self.name} is said to be "
            f"{self.said}, and its mask has {self.voxels} voxels of it"
        )


def labels_of_mask(
    mask: NDArray[np.integer[Any]], table: LabelTable, least_share: float = 0.0
) -> SliceLabels:
    """Reduce a mask to what is present in each slice.

    Parameters
    ----------
    mask : (Z, Y, X) integer ndarray
        Values of `table`, 0 for background.
    least_share : float
        Share of a slice above which a structure is present in it. Sets of tumours
        take 0.01 (AME-CAM), by which small ones are labelled absent.

    Returns
    -------
    SliceLabels
        Of the origin ``mask``: nothing of it is unknown.
    """
    counts = _counts(mask, table.values)
    present = counts > least_share * mask[0].size
    states = np.where(present, PRESENT, ABSENT).astype(np.uint8)
    return SliceLabels(table.names, states, "mask")


def contradictions(
    case: str, labels: SliceLabels, mask: NDArray[np.integer[Any]], table: LabelTable
) -> tuple[Contradiction, ...]:
    """Slices of which labels say another thing than a mask; each is named."""
    counts = _counts(mask, table.values)
    states = np.stack([labels.of(name) for name in table.names], axis=1)
    wrong = (states != UNKNOWN) & ((states == PRESENT) != (counts > 0))
    return tuple(
        Contradiction(
            case,
            table.names[index],
            int(plane),
            CODES[states[plane, index]].value,
            int(counts[plane, index]),
        )
        for plane, index in np.argwhere(wrong)
    )


def _counts(mask: NDArray[np.integer[Any]], values: Sequence[int]) -> NDArray[np.intp]:
    """Voxels (Z, K) of each value in each slice."""
    flat = mask.reshape(len(mask), -1)
    return np.stack([(flat == value).sum(axis=1) for value in values], axis=1)
