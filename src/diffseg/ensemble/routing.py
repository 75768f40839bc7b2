"""What is known of a case or a slice before anyone looks at it: a few numbers.

Made once from a proposal and kept with it: a queue of thousands of cases is then
ordered without opening a volume. `routing_order` puts candidates in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.expected import expected_structures

Floats = NDArray[np.floating[Any]]

HISTOGRAM = (0.05, 0.2, 0.4, 0.6, 0.8)
"""Lower edges of the histogram of uncertainty; the last bin ends at 1."""
_MIDDLE = (0.5, 0.5, 0.5)
CLAIMED = 0.05
"""Probability from which a structure is claimed, and looked for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A case, or one slice of it, that could be looked at next.

    Parameters
    ----------
    case : str
    slice : int or None
        Plane of the case; None for the whole case.
    volumes : (C,) tuple of float
        Voxels of each structure in the mask.
    centroids : (C,) tuple of (z, y, x)
        Of each structure, as shares of the grid; its middle where there is none.
    doubts : (C,) tuple of float in [0, 1]
        Mean uncertainty where each structure is claimed: its probability is at least
        0.05. A mean over the whole grid would rank by the size of the field of view.
    entropy : float in [0, 1]
        The same where any structure is claimed.
    information : float in [0, 1], or None
        There, mean mutual information of members; None with one member.
    expected_dice : (C,) tuple of float in [0, 1]
        Of each structure: predicted by the calibrated model where it can, else
        `diffseg.ensemble.expected_dice`.
    histogram : (5,) tuple of float
        Share of claimed voxels with an uncertainty in each bin of `HISTOGRAM`.
    """

    case: str
    slice: int | None
    volumes: tuple[float, ...]
    centroids: tuple[tuple[float, float, float], ...]
    doubts: tuple[float, ...]
    entropy: float
    information: float | None
    expected_dice: tuple[float, ...]
    histogram: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers, for a store."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Candidate:
        """Read what `as_json` gave, by way of JSON, too."""
        tuples = {
            name: tuple(stored[name])
            for name in ("volumes", "doubts", "expected_dice", "histogram")
        }
        places = [(float(z), float(y), float(x)) for z, y, x in stored["centroids"]]
        return cls(**{**stored, **tuples, "centroids": tuple(places)})


def candidate_of(
    case: str,
    probability: Floats,
    classes: NDArray[np.uint8],
    uncertainty: Floats,
    members: NDArray[np.uint8] | None = None,
    expected_dice: Sequence[float] | None = None,
) -> Candidate:
    """Summarise a proposal.

    Parameters
    ----------
    case : str
    probability : (C, Z, Y, X) ndarray in [0, 1]
        Of the foreground classes.
    classes : (Z, Y, X) uint8 ndarray
        The mask: `i + 1` for ``probability[i]``.
    uncertainty : (Z, Y, X) ndarray in [0, 1]
    members : (M, Z, Y, X) uint8 ndarray, optional
        Class of each voxel in each member; of masks, mutual information is the entropy
        of their votes.
    expected_dice : (C,) sequence of float, optional
        Predicted by the calibrated model.
    """
    claimed = probability >= CLAIMED
    anywhere: NDArray[np.bool_] = np.max(claimed, axis=0)
    structures = range(1, len(probability) + 1)
    bins = [*HISTOGRAM, np.inf]
    inside = uncertainty[anywhere]
    histogram = np.histogram(inside, bins)[0] / max(inside.size, 1)
    dice = expected_dice
    if dice is None:
        dice = expected_structures(probability, classes)
    return Candidate(
        case=case,
        slice=None,
        volumes=tuple(float(np.count_nonzero(classes == i)) for i in structures),
        centroids=tuple(_centroid(classes == i) for i in structures),
        doubts=tuple(_mean(uncertainty[one]) for one in claimed),
        entropy=_mean(inside),
        information=_information(members, anywhere, len(probability) + 1),
        expected_dice=tuple(float(one) for one in dice),
        histogram=tuple(float(one) for one in histogram),
    )


def slice_candidates(
    case: str,
    probability: Floats,
    classes: NDArray[np.uint8],
    uncertainty: Floats,
    members: NDArray[np.uint8] | None = None,
    axis: int = 0,
) -> tuple[Candidate, ...]:
    """Summarise every slice of a proposal in which a structure is claimed.

    Parameters
    ----------
    case, probability, classes, uncertainty, members
        As for `candidate_of`.
    axis : {0, 1, 2}
        Along which the slices lie.
    """
    others = tuple(one + 1 for one in range(3) if one != axis)
    claimed = (probability >= CLAIMED).any(axis=(0, *others))
    found = []
    for at in np.flatnonzero(claimed).tolist():
        here = slice(at, at + 1)
        cut = tuple(here if one == axis else slice(None) for one in range(3))
        some = None if members is None else members[(slice(None), *cut)]
        one = candidate_of(
            case, probability[(slice(None), *cut)], classes[cut], uncertainty[cut], some
        )
        found.append(_placed(one, at, axis, classes.shape[axis]))
    return tuple(found)


def features_of(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """How candidates differ: (N, F), each column of mean 0.

    Three blocks of equal weight: logarithms of the structures' volumes, their
    centroids, the histogram of uncertainty. Columns have variance 1 (0 where all
    candidates are alike), divided by the square root of their block's length.
    """
    count = len(candidates)
    blocks = (
        np.log1p(np.array([one.volumes for one in candidates], np.float64)),
        np.array([one.centroids for one in candidates], np.float64).reshape(count, -1),
        np.array([one.histogram for one in candidates], np.float64),
    )
    columns = []
    for values in blocks:
        values -= values.mean(axis=0)
        spread = values.std(axis=0)
        values /= np.where(spread > 1e-9, spread, np.inf)
        columns.append(values / np.sqrt(values.shape[1]))
    return np.concatenate(columns, axis=1)


def _placed(one: Candidate, at: int, axis: int, size: int) -> Candidate:
    """The candidate of one slice, told where in the volume it lies."""
    share = (at + 0.5) / size
    centroids = []
    for place in one.centroids:
        moved = list(place)
        moved[axis] = share
        centroids.append((moved[0], moved[1], moved[2]))
    values = {**one.as_json(), "slice": at, "centroids": centroids}
    return Candidate.from_json(values)


def _centroid(inside: NDArray[np.bool_]) -> tuple[float, float, float]:
    found = np.argwhere(inside)
    if not len(found):
        return _MIDDLE
    z, y, x = (found.mean(axis=0) + 0.5) / inside.shape
    return float(z), float(y), float(x)


def _information(
    members: NDArray[np.uint8] | None, anywhere: NDArray[np.bool_], classes: int
) -> float | None:
    """Mean entropy of the members' votes, over the logarithm of the classes."""
    if members is None or len(members) < 2:
        return None
    votes = members[:, anywhere]
    shares = np.stack([(votes == k).mean(axis=0) for k in range(classes)])
    logs = np.log(np.where(shares > 0, shares, 1))
    return _mean(-(shares * logs).sum(axis=0) / np.log(classes))


def _mean(values: Floats) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else 0.0
