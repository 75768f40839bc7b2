"""Count what a simulated annotator does until a mask is good: from what it starts.

    python docs/measuring/annotation_effort.py --data DATASET --cases 10
    python docs/measuring/annotation_effort.py --data lgg --model MODEL --patients

From an empty mask (`scratch`), from a model's proposal, and from a proposal that the
model redraws around what was corrected (`resampling`), for the same cases and the same
hand. With `--patients` all slices of a patient are one volume. A simulated user is not
a user; see `simulated_annotator`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from simulated_annotator import (
    Annotator,
    Case,
    Effort,
    annotate,
    plain,
    resampling,
)

from diffseg import load_segmenter
from diffseg.domain import LabelTable, Request
from diffseg.errors import UserError
from diffseg.segmenters import Segmenter
from diffseg.volume import Volume, atomic_write_bytes
from diffseg_training.dataset import Dataset, load_dataset, read_image, read_reference

STARTS = ("scratch", "proposal", "resampling")


def volumes(
    dataset: Dataset, split: str, table: LabelTable, patients: bool
) -> Iterator[tuple[str, Volume, Any]]:
    """Name, volume and reference of each case, or of each patient's slices together."""
    cases = [one for one in dataset.split(split) if one.mask is not None]
    if not patients:
        for one in cases:
            volume = read_image(one)
            yield one.case, volume, read_reference(one, volume, table)
        return
    cases.sort(key=lambda one: (one.group, one.case))
    for group, slices in groupby(cases, key=lambda one: one.group):
        images, masks = [], []
        for one in slices:
            image = read_image(one)
            images.append(image.data)
            masks.append(read_reference(one, image, table))
        volume = Volume.from_array(np.concatenate(images, axis=1))
        yield group, volume, np.concatenate(masks, axis=0)


def proposed(
    segmenter: Segmenter, found: Iterator[tuple[str, Volume, Any]], most: int
) -> Iterator[Case]:
    """Cases that hold something to find, with what the model proposes for them."""
    count = 0
    for name, volume, truth in found:
        if count < most and truth.any():
            count += 1
            yield Case(name, volume, truth, segmenter.propose(Request(volume)))


def efforts_of(
    case: Case,
    segmenter: Segmenter,
    annotator: Annotator,
    request: Request,
    starts: Sequence[str],
) -> dict[str, Effort]:
    """What it takes from each start."""
    found = {}
    for start in starts:
        mask, redraw = case.proposal.mask, plain
        if start == "scratch":
            mask = np.zeros_like(mask)
        if start == "resampling":
            redraw = resampling(case, segmenter, request)
        found[start] = annotate(case, mask, annotator, redraw, 0)
    return found


def lines_of(told: dict[str, dict[str, Effort]], targets: Sequence[float]) -> str:
    """A Markdown table: sums over the cases that every start brought so far."""
    lines = [
        "| to a Dice of | start | cases | voxels edited | of the proposal's | strokes "
        "| slices |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in targets:
        both = [
            name
            for name, efforts in told.items()
            if all(target in one.reached for one in efforts.values())
        ]
        sums = {
            start: np.sum(
                [told[name][start].reached[target] for name in both], axis=0, dtype=int
            )
            for start in STARTS
            if both and start in told[both[0]]
        }
        for start, (edited, strokes, slices) in sums.items():
            plainly = sums.get("proposal", (edited,))[0]
            share = 100 * edited / max(1, plainly)
            lines.append(
                f"| {target:.2f} | {start} | {len(both)} of {len(told)} | {edited} "
                f"| {share:.0f} % | {strokes} | {slices} |"
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study, print its table and keep every case's effort."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parse.add_argument("--data", type=Path, required=True)
    parse.add_argument("--model", default="hippocampus-mri")
    parse.add_argument("--split", default="val")
    parse.add_argument("--patients", action="store_true", help="slices as volumes")
    parse.add_argument("--cases", type=int, default=10)
    parse.add_argument("--targets", default="0.90,0.95", help="mean Dice, rising")
    parse.add_argument("--slices", type=int, default=150, help="at most, of a case")
    parse.add_argument("--members", type=int, default=2, help="of a redrawing")
    parse.add_argument("--steps", type=int, default=1, help="of a redrawing")
    parse.add_argument("--starts", default=",".join(STARTS))
    parse.add_argument("--out", type=Path, help="file for the effort of each case")
    args = parse.parse_args(argv)
    targets = tuple(float(one) for one in args.targets.split(","))
    starts = args.starts.split(",")
    if unknown := set(starts) - set(STARTS):
        parse.error(f"--starts {', '.join(unknown)}: give {', '.join(STARTS)}")
    annotator = Annotator(targets, most_slices=args.slices)
    told: dict[str, dict[str, Effort]] = {}
    try:
        segmenter = load_segmenter(args.model, device="cpu")
        dataset = load_dataset(args.data)
        found = volumes(dataset, args.split, segmenter.card.labels, args.patients)
        for case in proposed(segmenter, found, args.cases):
            request = Request(case.volume, members=args.members, steps=args.steps)
            told[case.name] = efforts_of(case, segmenter, annotator, request, starts)
            print(case.name, told[case.name], file=sys.stderr, flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(lines_of(told, targets))
    if args.out:
        kept = {
            name: {
                start: {str(target): now for target, now in one.reached.items()}
                for start, one in efforts.items()
            }
            for name, efforts in told.items()
        }
        atomic_write_bytes(args.out, (json.dumps(kept) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
