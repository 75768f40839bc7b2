"""Pixels that are surely of a class, or surely of none (CLDF, section 2).

A class activation map finds the object but not its edge, the mean gradient map finds
edges but background too. Foreground is where both are high, background where neither
is; of the rest nothing is said. No mask has a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.segmenters.weak.thresholds import Floats, Threshold, stretched

NOTHING_SAID = -1
Fusion = Literal["both", "cam", "gradient"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How pixels are selected.

    Parameters
    ----------
    cam, gradient : Threshold
        Of each map.
    fusion : {"both", "cam", "gradient"}
        Which maps have a say.
    blur : float
        Of the gradient map, standard deviation in pixels.
    foreground, background : int
        Most pixels of each class, and of background, that are drawn of a slice.
    """

    cam: Threshold
    gradient: Threshold
    fusion: Fusion = "both"
    blur: float = 1.0
    foreground: int = 5000
    background: int = 5000


def activated(
    cam: Floats, gradient: Floats, rules: Rules
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a class surely is, and where it may be.

    Parameters
    ----------
    cam : (Y, X) float32 ndarray
        0 to 1.
    gradient : (Y, X) float32 ndarray, not negative
    rules : Rules

    Returns
    -------
    sure, maybe : (Y, X) bool ndarray
        Intersection and union of the two activated regions.
    """
    high = cam > rules.cam.of(cam)
    if rules.fusion == "cam":
        return high, high
    smooth = stretched(gradient, rules.blur)
    steep = smooth > rules.gradient.of(smooth)
    if rules.fusion == "gradient":
        return steep, steep
    return high & steep, high | steep


def selected(cams: Floats, gradients: Floats, rules: Rules) -> NDArray[np.int16]:
    """Class of every pixel of which something is sure.

    Parameters
    ----------
    cams, gradients : (K, Y, X) float32 ndarray
        Of the classes that the slice shows, in order.
    rules : Rules

    Returns
    -------
    (Y, X) int16 ndarray
        -1 where nothing is sure, 0 background, 1 to K the classes. What may be of
        several classes is of none for sure.
    """
    pairs = [activated(c, g, rules) for c, g in zip(cams, gradients, strict=True)]
    sure = np.stack([one for one, _ in pairs])
    maybe = np.stack([one for _, one in pairs])
    found = np.full(cams.shape[1:], NOTHING_SAID, np.int16)
    found[~maybe.any(axis=0)] = 0
    alone = maybe.sum(axis=0) == 1
    for index, one in enumerate(sure, start=1):
        found[one & alone] = index
    return found


def drawn(
    classes: NDArray[np.int16],
    rules: Rules,
    source: np.random.Generator,
    *,
    positive: bool = True,
) -> NDArray[np.int32]:
    """Pixels to learn from: at most so many of each class, without replacement.

    Parameters
    ----------
    classes : (Y, X) int16 ndarray
        As `selected` gives them.
    rules : Rules
    source : np.random.Generator
    positive : bool
        Whether the slice shows a class: then it is of use only with pixels of one, and
        others of background.

    Returns
    -------
    (P, 3) int32 ndarray
        Row, column and class; none where the slice is of no use.
    """
    parts = []
    for index in range(max(int(classes.max()), 0) + 1):
        where = np.argwhere(classes == index)
        most = rules.background if index == 0 else rules.foreground
        if len(where) > most:
            where = where[source.choice(len(where), most, replace=False)]
        parts.append(np.column_stack([where, np.full(len(where), index)]))
    useless = not len(parts[0]) or not any(len(one) for one in parts[1:])
    if positive and useless:
        return np.zeros((0, 3), np.int32)
    return np.concatenate(parts).astype(np.int32)
