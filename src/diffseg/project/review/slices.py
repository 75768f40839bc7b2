"""A case's slices: what is expected to be wrong in each, and which has been seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.routing import Candidate
from diffseg.project.review.strategies import checked, ordered
from diffseg.project.store import (
    Project,
    case_of,
    proposals_of,
    seen_slices,
    slices_of,
)

WRONG = "wrong"
"""Order of slices by voxels that are expected to be wrong, the most first."""
LEAST = 1.0
"""Voxels that are expected to be wrong in a slice that deserves a look."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceStrip:
    """What the newest proposal expects of the planes of an image, 0 to S - 1.

    Parameters
    ----------
    case_id, proposal : str
        Ids.
    names : (C,) tuple of str
    error : (S,) float64 ndarray in [0, 1]
        1 - expected Dice, mean over the structures that are claimed in the slice; 0
        where none is.
    errors : (C, S) float64 ndarray in [0, 1]
        The same of each structure.
    wrong : (S,) float64 ndarray
        Voxels that are expected to be wrong. A slice at the end of a structure has a
        large `error` about few voxels; this one does not.
    entropy : (S,) float64 ndarray in [0, 1]
        Mean uncertainty where a structure is claimed.
    information : (S,) float64 ndarray in [0, 1]
        Mean mutual information of members there; nan where it is not known.
    seen : (S,) bool ndarray
        What the annotator, or anybody, has looked at.
    candidates : tuple of Candidate
        Of those slices in which a structure is claimed.
    """

    case_id: str
    proposal: str
    names: tuple[str, ...]
    error: NDArray[np.float64]
    errors: NDArray[np.float64]
    wrong: NDArray[np.float64]
    entropy: NDArray[np.float64]
    information: NDArray[np.float64]
    seen: NDArray[np.bool_]
    candidates: tuple[Candidate, ...]


def slice_strip(
    project: Project, case_id: str, *, annotator: str | None = None
) -> SliceStrip | None:
    """Read what is known of a case's slices; None without a proposal.

    Parameters
    ----------
    annotator : str, optional
        Whose ticks count; anybody's without it.

    Raises
    ------
    UserError
        There is no such case, or a file was changed outside of the project.
    """
    planes = case_of(project, case_id).grid.shape[0]
    made = proposals_of(project, case_id)
    if not made:
        return None
    candidates, wrong = slices_of(project, made[-1])
    count = len(made[-1].labels)
    at = [one.slice for one in candidates]
    errors, plain = np.zeros((count, planes)), np.zeros((4, planes))
    plain[3] = np.nan
    for index, one, voxels in zip(at, candidates, wrong, strict=True):
        here = 1 - np.array(one.expected_dice)
        errors[:, index] = here
        claims = np.array(one.volumes) + np.array(one.doubts) > 0
        information = np.nan if one.information is None else one.information
        mean = here[claims].mean() if claims.any() else 0.0
        plain[:, index] = mean, voxels, one.entropy, information
    seen = np.zeros(planes, np.bool_)
    seen[list(seen_slices(project, case_id, annotator=annotator))] = True
    return SliceStrip(
        case_id, made[-1].id, made[-1].labels.names,
        plain[0], errors, plain[1], plain[2], plain[3], seen, candidates,
    )  # fmt: skip


def next_slice(
    strip: SliceStrip, strategy: str = WRONG, seed: int = 0, least: float = LEAST
) -> int | None:
    """Choose the slice that deserves a look next; None once none does.

    Parameters
    ----------
    strategy : str
        `WRONG`, or one of `diffseg.project.review.strategies.ORDERS`.
    seed : int
    least : float
        Slices with fewer voxels that are expected to be wrong deserve none.

    Raises
    ------
    UserError
        There is no such strategy.
    """
    if strategy != WRONG:
        checked(strategy)
    left: list[Candidate] = []
    taken: list[Candidate] = []
    for one in strip.candidates:
        if strip.seen[one.slice]:
            taken.append(one)
        elif strip.wrong[one.slice] >= least:
            left.append(one)
    if not left:
        return None
    order: Sequence[int]
    if strategy == WRONG:
        wrong = [-float(strip.wrong[one.slice]) for one in left]
        order = sorted(range(len(left)), key=wrong.__getitem__)
    else:
        order = ordered(left, strategy, seed, taken)
    return left[order[0]].slice
