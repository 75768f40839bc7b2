"""How many voxels of each class a correction holds, and how many it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from diffseg.project.store.tables import labels_in, take_in

Mask = NDArray[np.uint8]
Counts = Mapping[int, tuple[int, int]]


def counted(before: Mask, after: Mask) -> tuple[Counts, int]:
    """Count (Z, Y, X) masks, plane by plane, for memory.

    Returns
    -------
    counts : dict of int to (int, int)
        For each value above 0 in either mask: voxels that carry it afterwards, and
        that came to it or left it.
    changed : int
        Voxels that differ.
    """
    there, moved = np.zeros(256, np.int64), np.zeros(256, np.int64)
    total = 0
    for was, now in zip(before, after, strict=True):
        if now.any():
            there += np.bincount(now.ravel(), minlength=256)
        differs = was != now
        count = int(np.count_nonzero(differs))
        if count:
            total += count
            for plane in (was, now):
                moved += np.bincount(plane[differs], minlength=256)
    used = (there > 0) | (moved > 0)
    used[0] = False
    values = np.flatnonzero(used)
    return {int(v): (int(there[v]), int(moved[v])) for v in values}, total


def classes_of(db: Connection, counts: Counts) -> list[dict[str, Any]]:
    """Counts by the project's labels; a value it lacks comes in as ``label N``."""
    names = {label.value: label.name for label in labels_in(db)}
    unknown = [value for value in counts if value not in names]
    names |= {value: f"label {value}" for value in unknown}
    if unknown:
        take_in(db, [(names[value], value) for value in unknown])
    return [
        {"name": names[value], "value": value, "voxels": voxels, "changed": changed}
        for value, (voxels, changed) in counts.items()
    ]
