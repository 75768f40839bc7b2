"""A proposal by the weak model that ships, of stacks of 256 x 256: seconds and memory.

    python docs/measuring/weak_propose_speed.py --slices 1 --slices 16 --slices 155

Each stack is drawn in a process of its own, which tells its highest memory; all its
slices are said to show the structure. The first of two proposals is not timed where the
stack is one slice: it waits for what every process sets up once.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
import typer

from diffseg import Request, Volume, load_segmenter
from diffseg.domain import ImageLabels

MODEL = "brain-tumour-mri-weak"


def main(
    slices: Annotated[list[int], typer.Option(help="Of a stack; repeatable.")],
    members: Annotated[int, typer.Option(help="Of the proposal.")] = 1,
    steps: Annotated[int, typer.Option(help="Noise levels of a member.")] = 4,
    here: Annotated[bool, typer.Option(help="In this process.")] = False,
) -> None:
    """Print a line for each stack."""
    if here:
        print(json.dumps(measured(slices[0], members, steps)))
        return
    print("| slices | seconds | GiB |\n|---|---|---|")
    for count in slices:
        asked = ["--slices", count, "--members", members, "--steps", steps, "--here"]
        command = [sys.executable, __file__, *map(str, asked)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        print(f"| {count} | {told['seconds']:.2f} | {told['gib']:.2f} |", flush=True)


def measured(slices: int, members: int, steps: int) -> dict[str, float]:
    """Seconds of a proposal, and the highest memory of this process in GiB."""
    head = np.zeros((256, 256), np.uint8)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    head[(x / 0.6) ** 2 + (y / 0.75) ** 2 < 1] = 90
    head[((x - 0.25) / 0.15) ** 2 + (y / 0.2) ** 2 < 1] = 170
    noise = np.random.default_rng(0).integers(0, 12, (slices, 256, 256))
    volume = Volume.from_array((head + noise * (head > 0)).astype(np.uint8))
    segmenter = load_segmenter(MODEL, device="cpu")
    labels = ImageLabels.parse(segmenter.card.labels.names[0])
    request = Request(volume, labels=labels, members=members, steps=steps)
    if slices == 1:
        segmenter.propose(request)
    began = time.perf_counter()
    segmenter.propose(request)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "gib": peak}


if __name__ == "__main__":
    typer.run(main)
