"""What a clinician reads off: volume, its spread over members, agreement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, StructureReport
from diffseg.ensemble.agreement import pairwise_dice

_QUANTILES = (0.05, 0.95)


def measure(
    member_classes: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    table: LabelTable,
    voxel_ml: float | None,
) -> tuple[StructureReport, ...]:
    """Measure every structure of the consensus and over the members.

    Parameters
    ----------
    member_classes : (M, Z, Y, X) uint8 ndarray
        Class of each voxel in each member: 0 for background, `i` for
        ``table.labels[i - 1]``.
    classes : (Z, Y, X) uint8 ndarray
        The consensus, in the same classes.
    table : LabelTable
    voxel_ml : float or None
        Volume of one voxel; None where the image has no spacing.

    Returns
    -------
    tuple of StructureReport
        In the table's order. Volumes are None without `voxel_ml`; the 5 % and
        95 % quantiles over members interpolate linearly, and with one member
        are that member's volume.

    Raises
    ------
    ValueError
        There is no member, or the grids differ.
    """
    if not len(member_classes) or member_classes.shape[1:] != classes.shape:
        raise ValueError(f"members {member_classes.shape}, consensus {classes.shape}")
    n_values = len(table) + 1
    counts = np.stack(
        [np.bincount(one.ravel(), minlength=n_values) for one in member_classes]
    )
    voxels = np.bincount(classes.ravel(), minlength=n_values)
    low, high = np.quantile(counts, _QUANTILES, axis=0)

    def ml(count: float) -> float | None:
        return None if voxel_ml is None else float(count * voxel_ml)

    return tuple(
        StructureReport(
            name=label.name,
            label=label.value,
            voxels=int(voxels[index]),
            volume_ml=ml(voxels[index]),
            volume_ml_p05=ml(low[index]),
            volume_ml_p95=ml(high[index]),
            expected_dice=pairwise_dice(member_classes, index),
        )
        for index, label in enumerate(table.each(), start=1)
    )
