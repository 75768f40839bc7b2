"""Where a CAM ends: thresholds chosen once for all slices, and told how.

`diffseg.segmenters.weak.thresholds` has the rules that look at one slice alone, Otsu's
and a fixed share of the pixels. Here a threshold is chosen on many slices: on those in
which the structure is absent, which image-level labels tell, or on masks of val, and
then what comes of it is no longer a result of image-level labels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.metrics import dice
from diffseg.segmenters.weak.thresholds import Threshold

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
GRID = tuple(round(0.02 * i, 2) for i in range(1, 50))
"""Values of a fixed threshold that are tried."""
SHARES = (50.0, 70.0, 80.0, 85.0, 90.0, 92.5, 95.0, 96.0, 97.0, 98.0, 99.0, 99.5)
"""Per cent of the pixels that lie below, that are tried."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold and what it was chosen on.

    Parameters
    ----------
    threshold : Threshold
    on : {"labels", "masks"}
        Image-level labels alone, or masks of val.
    slices : int
        How many had a say.
    dice : float or None
        Mean over them, where there were masks.
    """

    threshold: Threshold
    on: Literal["labels", "masks"]
    slices: int
    dice: float | None = None

    def told(self) -> str:
        """One line."""
        rule = f"{self.threshold.kind} {self.threshold.value:g}"
        if self.on == "labels":
            return f"{rule}, chosen on {self.slices} slices by image-level labels alone"
        return (
            f"{rule}, chosen on the masks of {self.slices} slices of val (mean Dice "
            f"{self.dice:.3f})"
        )


def masks_of(maps: Floats, threshold: Threshold, present: Bools | None = None) -> Bools:
    """Masks (N, H, W) of maps in 0..1.

    Parameters
    ----------
    maps : (N, H, W) ndarray
    threshold : Threshold
    present : (N,) bool ndarray, optional
        Of a slice that is not, the mask is empty.
    """
    masks: Bools = np.zeros(maps.shape, np.bool_)
    for mask, one in zip(masks, maps, strict=True):
        mask[:] = one > threshold.of(one)
    return masks if present is None else masks & present[:, None, None]


def chosen_on_masks(
    maps: Floats,
    masks: Bools,
    *,
    kinds: Sequence[Literal["fixed", "percentile"]] = ("fixed",),
) -> Chosen:
    """Choose the threshold of the highest mean Dice over slices that have a mask.

    Parameters
    ----------
    maps : (N, H, W) ndarray in 0..1
    masks : (N, H, W) bool ndarray
        Of val; slices whose mask is empty have no say.
    kinds : sequence of {"fixed", "percentile"}
        Rules that are tried.

    Raises
    ------
    UserError
        No mask has a voxel.
    """
    having = masks.any(axis=(1, 2))
    if not having.any():
        raise UserError(
            "no mask of val has a voxel of the structure: a threshold cannot be "
            "chosen on them; take otsu, which needs none"
        )
    shown, wanted = maps[having], masks[having].astype(np.uint8)
    best: tuple[float, Threshold] | None = None
    for kind in kinds:
        for value in GRID if kind == "fixed" else SHARES:
            rule = Threshold(kind=kind, value=value)
            found = masks_of(shown, rule).astype(np.uint8)
            mean = np.mean([dice(a, b) for a, b in zip(found, wanted, strict=True)])
            if best is None or mean > best[0]:
                best = float(mean), rule
    assert best is not None, "a kind was given"
    return Chosen(best[1], "masks", len(shown), best[0])


def chosen_on_absent(maps: Floats, share: float = 0.01) -> Chosen:
    """Choose what all but a share of the pixels of slices without it stay below.

    Parameters
    ----------
    maps : (N, H, W) ndarray in 0..1
        Of slices in which the structure is said to be absent; on one scale for all of
        them (`scale` of `cam_maps`), else each reaches 1 somewhere.
    share : float
        Of all their pixels.

    Raises
    ------
    UserError
        There is no such slice.
    """
    if not len(maps):
        raise UserError(
            "the structure is absent in no slice: a threshold cannot be chosen on what "
            "slices without it show"
        )
    value = float(np.quantile(maps, 1 - share))
    return Chosen(Threshold(kind="fixed", value=value), "labels", len(maps))
