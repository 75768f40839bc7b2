"""A simulated annotator, who corrects a mask slice by slice. It is not a user.

It sees every error, takes the slice with the most of them, paints the largest there and
slips at their edges. What it costs is counted until the mean Dice of the structures is
reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.diffusion.constrained import pulled, regressed
from diffseg.domain import LabelTable, Proposal, Request, Resampling, Strokes
from diffseg.domain.resampling import LEAST_WIDTH
from diffseg.domain.strokes import ERASED
from diffseg.segmenters import Segmenter
from diffseg.segmenters.constraint import pull_of
from diffseg.volume import Volume

Mask = NDArray[np.uint8]
Redraw = Callable[[Mask, Strokes], Mask]
"""The mask after strokes, from the mask that they were painted into."""

MISSED, SLIPPED = 0.1, 0.05
"""Share of an error's voxels left out, and of its neighbours painted by mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A volume, its reference mask and what the model proposed for it."""

    name: str
    volume: Volume
    truth: Mask
    proposal: Proposal

    @property
    def labels(self) -> LabelTable:
        """The structures that are corrected."""
        return self.proposal.labels

    def dice(self, mask: Mask) -> float:
        """Mean over the structures that the reference holds."""
        found = []
        for value in self.labels.values:
            ours, theirs = mask == value, self.truth == value
            if theirs.any():
                both = np.count_nonzero(ours & theirs)
                found.append(2 * both / (ours.sum() + theirs.sum()))
        return float(np.mean(found))


@dataclass(slots=True)
class Effort:
    """What it took to come so far.

    Attributes
    ----------
    edited : int
        Voxels whose class changed under the brush.
    strokes, slices : int
        Painted, and visited.
    seconds : list of float
        Of each redrawing.
    reached : dict of float to tuple of int
        Edited voxels, strokes and slices by the time that a Dice was reached.
    """

    edited: int = 0
    strokes: int = 0
    slices: int = 0
    seconds: list[float] = field(default_factory=list)
    reached: dict[float, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Annotator:
    """How a simulated annotator works.

    Attributes
    ----------
    targets : tuple of float
        Mean Dice, rising; work ends at the last.
    a_slice : int
        Strokes on a slice, at most.
    a_round : int
        Slices to a redrawing.
    most_slices : int
        Visits of one case, at most.
    keeps_slices : bool
        A slice that was corrected is kept as it is then; else only what was painted.
    """

    targets: tuple[float, ...] = (0.90, 0.95)
    a_slice: int = 3
    a_round: int = 1
    most_slices: int = 90
    keeps_slices: bool = True


def painted(
    case: Case, mask: Mask, plane: int, most: int, random: np.random.Generator
) -> list[tuple[NDArray[np.bool_], int]]:
    """The largest errors of one slice, as they are painted: where, and which value."""
    wrong = mask[plane] != case.truth[plane]
    found: list[tuple[int, NDArray[np.bool_], int]] = []
    for value in np.unique(case.truth[plane][wrong]):
        parts, count = ndimage.label(
            wrong & (case.truth[plane] == value), np.ones((3, 3))
        )
        for index in range(1, count + 1):
            part = parts == index
            found.append((int(part.sum()), part, int(value)))
    found.sort(key=lambda one: -one[0])
    strokes = []
    for _, part, value in found[:most]:
        edge = ndimage.binary_dilation(part) & ~part
        chance = random.random(part.shape)
        area = (part & (chance >= MISSED)) | (edge & (chance < SLIPPED))
        strokes.append((area if area.any() else part, value))
    return strokes


def annotate(
    case: Case, start: Mask, annotator: Annotator, redraw: Redraw, seed: int
) -> Effort:
    """Correct a mask until it is good enough; redraw it after each round."""
    random, effort = np.random.default_rng(seed), Effort()
    mask, touched = start.copy(), np.zeros(start.shape, dtype=bool)
    while effort.slices < annotator.most_slices:
        seen: list[int] = []
        for _ in range(annotator.a_round):
            if _noted(effort, case.dice(mask), annotator.targets):
                return effort
            errors = (mask != case.truth).sum(axis=(1, 2))
            errors[seen] = 0
            plane = int(errors.argmax())
            seen.append(plane)
            effort.slices += 1
            for area, value in painted(case, mask, plane, annotator.a_slice, random):
                effort.strokes += 1
                effort.edited += int((mask[plane][area] != value).sum())
                mask[plane][area] = value
                touched[plane] |= area
            touched[plane] |= annotator.keeps_slices
        began = time.perf_counter()
        mask = redraw(mask, Strokes.within(mask, touched, case.labels))
        effort.seconds.append(time.perf_counter() - began)
    _noted(effort, case.dice(mask), annotator.targets)
    return effort


def _noted(effort: Effort, dice: float, targets: tuple[float, ...]) -> bool:
    """Note the targets that are reached; whether the last one is."""
    for target in targets:
        if dice >= target:
            now = (effort.edited, effort.strokes, effort.slices)
            effort.reached.setdefault(target, now)
    return dice >= targets[-1]


def plain(mask: Mask, strokes: Strokes) -> Mask:
    """Nothing changes but what was painted."""
    del strokes
    return mask


def spreading(case: Case, options: Resampling) -> Redraw:
    """Strokes pull at the first proposal's probabilities; the model is not asked."""
    shares = _shares_of(case.proposal)

    def redraw(mask: Mask, strokes: Strokes) -> Mask:
        del mask
        pull = pull_of(
            strokes.dense(),
            case.volume.data.astype(np.float32),
            shares.shape[1],
            case.volume.grid.spacing_zyx,
            reach_mm=options.reach_mm,
            contrast=options.contrast,
        )
        moved = pulled(shares, torch.from_numpy(pull), options.strength)
        return _kept(strokes, moved, case.labels)

    return redraw


def regressing(case: Case, options: Resampling) -> Redraw:
    """The first proposal follows what was wrong with it; the model is not asked."""
    shares = _shares_of(case.proposal)
    spacing = case.volume.grid.spacing_zyx
    widths = [max(LEAST_WIDTH, options.width_mm / one) for one in spacing]

    def redraw(mask: Mask, strokes: Strokes) -> Mask:
        del mask
        said = torch.from_numpy(strokes.dense())
        classes = torch.where(said == ERASED, 0, said)
        truth = torch.stack([classes == index for index in range(shares.shape[1])])
        moved = regressed(
            shares, truth.float(), said > 0, widths,
            gain=options.gain, shrink=options.shrink, rounds=options.rounds,
        )  # fmt: skip
        return _kept(strokes, moved, case.labels)

    return redraw


def _shares_of(proposal: Proposal) -> torch.Tensor:
    """Probabilities (1, K + 1, Z, Y, X), background first."""
    rest = 1 - proposal.probability.sum(0, keepdims=True)
    return torch.from_numpy(np.concatenate([rest, proposal.probability]).clip(0))[None]


def _kept(strokes: Strokes, shares: torch.Tensor, labels: LabelTable) -> Mask:
    """The likeliest mask, with what was painted as it was painted."""
    values = np.array((0, *labels.values), dtype=np.uint8)
    return strokes.onto(values[shares[0].argmax(0).numpy()], labels)


def resampling(case: Case, segmenter: Segmenter, request: Request) -> Redraw:
    """The model is asked again, for what agrees with the strokes."""

    def redraw(mask: Mask, strokes: Strokes) -> Mask:
        asked = replace(request, volume=case.volume, strokes=strokes, initial_mask=mask)
        return segmenter.propose(asked).mask

    return redraw
