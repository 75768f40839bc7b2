"""Count the voxels a simulated annotator edits, with and without resampling.

    python docs/measuring/resampling_study.py --data DATASET --cases 10

A simulated user is not a user: it sees every error, takes the slice with the most of
them, paints the largest there and slips at their edges. What is counted is how many
voxels change their class under its brush until the mean Dice of the structures is
reached: `plain` keeps what was painted and nothing else; `spread` lets the painted
voxels pull at the probabilities of the first proposal, without asking the model again;
every other way resamples around the strokes after each few slices. A slice that was
corrected is taken as it is then, with what was left alone in it (`--kept slices`), or
only what was painted is (`--kept strokes`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from diffseg import load_segmenter
from diffseg.diffusion.constrained import pulled
from diffseg.domain import Proposal, Request, Resampling, Strokes
from diffseg.domain.resampling import WAYS
from diffseg.errors import UserError
from diffseg.segmenters import Segmenter
from diffseg.segmenters.constraint import pull_of
from diffseg.volume import Volume
from diffseg_training.dataset import load_dataset, read_image, read_reference

Mask = NDArray[np.uint8]
Redraw = Callable[[Mask, Strokes], Mask]
"""The mask after strokes, from the mask that they were painted into."""

MISSED, SLIPPED = 0.1, 0.05
"""Share of an error's voxels left out, and of its neighbours painted by mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A volume, its reference mask and what the model proposed for it."""

    volume: Volume
    truth: Mask
    proposal: Proposal

    def dice(self, mask: Mask) -> float:
        """Mean over the structures that the reference holds."""
        found = []
        for value in self.proposal.labels.values:
            ours, theirs = mask == value, self.truth == value
            if theirs.any():
                both = np.count_nonzero(ours & theirs)
                found.append(2 * both / (ours.sum() + theirs.sum()))
        return float(np.mean(found))


@dataclass(slots=True)
class Effort:
    """What it took to come so far."""

    edited: int = 0
    strokes: int = 0
    slices: int = 0
    seconds: list[float] = field(default_factory=list)
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Annotator:
    """How a simulated annotator works."""

    target: float
    a_slice: int
    a_round: int
    most_slices: int
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


def annotate(case: Case, annotator: Annotator, redraw: Redraw, seed: int) -> Effort:
    """Correct a proposal until it is good enough; resample after each round."""
    random, effort = np.random.default_rng(seed), Effort()
    mask, table = case.proposal.mask.copy(), case.proposal.labels
    touched = np.zeros(mask.shape, dtype=bool)
    while effort.slices < annotator.most_slices:
        seen: list[int] = []
        for _ in range(annotator.a_round):
            if case.dice(mask) >= annotator.target:
                effort.reached = True
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
        mask = redraw(mask, Strokes.within(mask, touched, table))
        effort.seconds.append(time.perf_counter() - began)
    effort.reached = case.dice(mask) >= annotator.target
    return effort


def spreading(case: Case, options: Resampling) -> Redraw:
    """Strokes pull at the first proposal's probabilities; the model is not asked."""
    rest = 1 - case.proposal.probability.sum(0, keepdims=True)
    shares = np.concatenate([rest, case.proposal.probability]).clip(0)

    def redraw(mask: Mask, strokes: Strokes) -> Mask:
        del mask
        pull = pull_of(
            strokes.dense(),
            case.volume.data.astype(np.float32),
            len(shares),
            case.volume.grid.spacing_zyx,
            reach_mm=options.reach_mm,
            contrast=options.contrast,
        )
        moved = pulled(
            torch.from_numpy(shares)[None], torch.from_numpy(pull), options.strength
        )
        values = np.array((0, *case.proposal.labels.values), dtype=np.uint8)
        return strokes.onto(values[moved[0].argmax(0).numpy()], case.proposal.labels)

    return redraw


def resampling(case: Case, segmenter: Segmenter, request: Request) -> Redraw:
    """The model is asked again, for what agrees with the strokes."""

    def redraw(mask: Mask, strokes: Strokes) -> Mask:
        asked = replace(request, volume=case.volume, strokes=strokes, initial_mask=mask)
        return segmenter.propose(asked).mask

    return redraw


def plain(mask: Mask, strokes: Strokes) -> Mask:
    """Nothing changes but what was painted."""
    del strokes
    return mask


def table_of(efforts: dict[str, list[Effort]]) -> str:
    """One line for each way: sums over cases, and their ratio to plain correction."""
    lines = [
        f"{'way':<30}{'reached':>8}{'edited':>8}{'of plain':>10}"
        f"{'strokes':>9}{'slices':>8}{'s each':>8}"
    ]
    base = sum(one.edited for one in efforts["plain"])
    for name, several in efforts.items():
        edited = sum(one.edited for one in several)
        seconds = [s for one in several for s in one.seconds] or [0.0]
        reached = f"{sum(one.reached for one in several)}/{len(several)}"
        lines.append(
            f"{name:<30}{reached:>8}{edited:>8}{100 * edited / max(base, 1):>8.0f} %"
            f"{sum(one.strokes for one in several):>9}"
            f"{sum(one.slices for one in several):>8}{np.median(seconds):>8.2f}"
        )
    return "\n".join(lines)


def cases_of(args: argparse.Namespace, segmenter: Segmenter) -> list[Case]:
    """The first val cases, with what the model proposes for each."""
    dataset = load_dataset(args.data)
    cases = []
    for one in dataset.split("val")[args.skip : args.skip + args.cases]:
        volume = read_image(one)
        truth = read_reference(one, volume, segmenter.card.labels)
        cases.append(Case(volume, truth, segmenter.propose(Request(volume))))
    return cases


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and print its table."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parse.add_argument("--data", type=Path, required=True)
    parse.add_argument("--model", default="hippocampus-mri")
    parse.add_argument("--cases", type=int, default=3)
    parse.add_argument("--skip", type=int, default=0, help="cases left out before")
    parse.add_argument("--target", type=float, default=0.95, help="mean Dice")
    parse.add_argument("--strokes", type=int, default=3, help="at most, on a slice")
    parse.add_argument("--round", type=int, default=1, help="slices to a resampling")
    parse.add_argument("--kept", choices=("slices", "strokes"), default="slices")
    parse.add_argument("--slices", type=int, default=90, help="at most, of a case")
    parse.add_argument("--ways", default=",".join(("spread", *WAYS)))
    parse.add_argument("--levels", default="0.2", help="noise levels, with commas")
    parse.add_argument("--members", type=int, default=2)
    parse.add_argument("--steps", type=int, default=1)
    parse.add_argument("--reach", type=float, default=Resampling().reach_mm)
    parse.add_argument("--contrast", type=float, default=Resampling().contrast)
    parse.add_argument("--strength", type=float, default=Resampling().strength)
    parse.add_argument("--threads", type=int, default=2)
    args = parse.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        segmenter = load_segmenter(args.model, device="cpu")
        cases = cases_of(args, segmenter)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    keeps = args.kept == "slices"
    annotator = Annotator(args.target, args.strokes, args.round, args.slices, keeps)
    efforts = {"plain": [annotate(c, annotator, plain, 0) for c in cases]}
    print("first Dice: ", *(f"{c.dice(c.proposal.mask):.3f}" for c in cases))
    for name, redraws in _compared(args, segmenter, cases).items():
        efforts[name] = [
            annotate(case, annotator, redraw, 0)
            for case, redraw in zip(cases, redraws, strict=True)
        ]
        print(table_of(efforts).splitlines()[-1], flush=True)
    print(table_of(efforts))
    return 0


def _compared(
    args: argparse.Namespace, segmenter: Segmenter, cases: Sequence[Case]
) -> dict[str, list[Redraw]]:
    options = Resampling(
        reach_mm=args.reach, contrast=args.contrast, strength=args.strength
    )
    compared: dict[str, list[Redraw]] = {}
    for way in args.ways.split(","):
        if way == "spread":
            compared[way] = [spreading(case, options) for case in cases]
            continue
        for level in args.levels.split(","):
            request = Request(
                cases[0].volume, noise_level=float(level), members=args.members,
                steps=args.steps, resampling=replace(options, way=way),
            )  # fmt: skip
            compared[f"{way} {level}"] = [
                resampling(case, segmenter, request) for case in cases
            ]
    return compared


if __name__ == "__main__":
    sys.exit(main())
