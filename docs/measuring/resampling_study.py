"""Count the voxels a simulated annotator edits, with and without resampling.

    python docs/measuring/resampling_study.py --data DATASET --cases 10

A simulated user is not a user; see `simulated_annotator`. What is counted is how many
voxels change their class under its brush until the mean Dice of the structures is
reached: `plain` keeps what was painted and nothing else; `spread` lets the painted
voxels pull at the probabilities of the first proposal, and `regress` lets these follow
what was wrong with them, both without asking the model again;
every other way resamples around the strokes after each few slices. A slice that was
corrected is taken as it is then, with what was left alone in it (`--kept slices`), or
only what was painted is (`--kept strokes`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from simulated_annotator import (
    Annotator,
    Case,
    Effort,
    Redraw,
    annotate,
    plain,
    regressing,
    resampling,
    spreading,
)

from diffseg import load_segmenter
from diffseg.domain import Request, Resampling
from diffseg.domain.resampling import LEVEL, WAYS
from diffseg.errors import UserError
from diffseg.segmenters import Segmenter
from diffseg_training.dataset import load_dataset, read_image, read_reference

CONTROLS = {"spread": spreading, "regress": regressing}
"""Ways that do not ask the model again."""


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
        reached = f"{sum(bool(one.reached) for one in several)}/{len(several)}"
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
        proposal = segmenter.propose(Request(volume))
        cases.append(Case(one.case, volume, truth, proposal))
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
    parse.add_argument("--ways", default=",".join((*CONTROLS, *WAYS)))
    parse.add_argument("--levels", default=str(LEVEL), help="noise levels, with commas")
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
    annotator = Annotator((args.target,), args.strokes, args.round, args.slices, keeps)
    efforts = {
        "plain": [annotate(c, c.proposal.mask, annotator, plain, 0) for c in cases]
    }
    print("first Dice: ", *(f"{c.dice(c.proposal.mask):.3f}" for c in cases))
    for name, redraws in _compared(args, segmenter, cases).items():
        efforts[name] = [
            annotate(case, case.proposal.mask, annotator, redraw, 0)
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
        if way in CONTROLS:
            compared[way] = [CONTROLS[way](case, options) for case in cases]
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
