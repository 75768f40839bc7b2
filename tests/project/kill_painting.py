"""Kill a process that paints, at any moment, and tell how many seconds are lost.

``python tests/project/kill_painting.py --times 50``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, Label, LabelTable
from diffseg.project import notebook
from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal, Restored
from diffseg.volume import Affine, Grid, Volume

Shape = tuple[int, int, int]
TABLE = LabelTable(
    labels=(Label(name="left", value=1), Label(name="right", value=2))  # type: ignore[call-arg]
)
PAUSE = 0.01
"""Seconds between two strokes, as between two moves of a mouse."""


@dataclass(frozen=True)
class Stroke:
    """A box that was painted, and when."""

    time: float
    box: tuple[slice, slice, slice]
    value: int

    def paint(self, values: NDArray[np.uint8], touched: NDArray[np.bool_]) -> None:
        values[self.box] = self.value
        touched[self.box] = True


@dataclass(frozen=True)
class Loss:
    """What one kill cost: seconds of strokes, and how many of how many."""

    seconds: float
    lost: int
    strokes: int
    records: int
    warnings: tuple[str, ...]


def volume_of(shape: Shape) -> Volume:
    """A volume of a shape, without voxels."""
    grid = Grid(shape, Affine.identity())
    return replace(Volume.from_array(np.zeros((1, 1, 1))), grid=grid)


def strokes(shape: Shape, seed: int) -> Iterator[Stroke]:
    """Strokes without end: small boxes along a path, some of them erasing."""
    rng = random.Random(seed)
    while True:
        thick = (1, rng.randint(1, 12), rng.randint(1, 12))
        starts = [
            rng.randrange(max(1, n - t)) for n, t in zip(shape, thick, strict=True)
        ]
        z, y, x = (slice(s, s + t) for s, t in zip(starts, thick, strict=True))
        yield Stroke(time.time(), (z, y, x), rng.choice((0, 1, 2)))


def paint(folder: Path, shape: Shape, seed: int, records: int) -> None:
    """Paint until killed; each stroke is told of, unbuffered, before it is made."""
    notebook.MOST_RECORDS = records
    annotation = Annotation.empty(shape)
    journal = Journal(folder / "journal")
    journal.open(
        "case", name="case", volume=volume_of(shape), annotation=annotation,
        table=TABLE, labels=ImageLabels(),
    )  # fmt: skip
    log = os.open(folder / "strokes.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stroke in strokes(shape, seed):
        told = [stroke.time, [[s.start, s.stop] for s in stroke.box], stroke.value]
        os.write(log, (json.dumps(told) + "\n").encode())
        stroke.paint(annotation.values, annotation.touched)
        journal.note("case")
        time.sleep(PAUSE)


def told(folder: Path) -> list[Stroke]:
    """Strokes that the child told of; a line cut short was not made."""
    made = []
    for line in (folder / "strokes.log").read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            when, ranges, value = json.loads(line)
            z, y, x = (slice(*pair) for pair in ranges)
            made.append(Stroke(when, (z, y, x), value))
    return made


def first_lost(made: list[Stroke], restored: Restored) -> int | None:
    """Index of the earliest stroke of which some voxel is not there."""
    shape = restored.values.shape
    values, touched = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
    since = np.full(shape, -1, np.int32)  # the write since which it differs
    for index, stroke in enumerate(made):
        stroke.paint(values, touched)
        same = restored.values[stroke.box] == stroke.value
        same &= restored.touched[stroke.box]
        here = since[stroke.box]
        here[same] = -1
        here[~same & (here < 0)] = index
    assert not (restored.touched & ~touched).any(), "touched where nobody was"
    assert not (restored.values[~touched]).any(), "painted where nobody was"
    lost = since[since >= 0]
    return int(lost.min()) if lost.size else None


def kill_once(shape: Shape, after: float, seed: int, records: int) -> Loss:
    """Start a child that paints, kill it, restore, and compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = ["--seed", str(seed), "--records", str(records)]
        given += ["--shape", *map(str, shape)]
        child = subprocess.Popen([sys.executable, __file__, "--child", name, *given])
        deadline = time.monotonic() + 60
        while not (folder / "strokes.log").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after)
        child.kill()
        killed = time.time()
        child.wait()
        made = told(folder)
        journal = Journal(folder / "journal")
        found = journal.leftovers()
        if not found:  # killed before anything was kept
            return Loss(killed - made[0].time, len(made), len(made), 0, ())
        (leftover,) = found
        case = next((folder / "journal" / "windows").glob("*/*"))
        restored = journal.restore(leftover.id)
        lost = first_lost(made, restored)
        seconds = 0.0 if lost is None else killed - made[lost].time
        count = 0 if lost is None else len(made) - lost
        files = len(list(case.iterdir()))
        return Loss(seconds, count, len(made), files, restored.warnings)


def main() -> None:
    """Kill as often as asked, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--shape", type=int, nargs=3, default=[160, 256, 256])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=int, default=3, help="between two bases")
    parser.add_argument("--longest", type=float, default=6.0, help="s of painting")
    parser.add_argument("--most", type=float, default=2.0, help="s that may be lost")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    shape = tuple(given.shape)
    if given.child:
        paint(given.child, shape, given.seed, given.records)
    rng = random.Random(given.seed)
    losses = []
    for turn in range(given.times):
        after = rng.uniform(0.2, given.longest)
        loss = kill_once(shape, after, given.seed + turn, given.records)
        losses.append(loss)
        print(
            f"{turn + 1:3}: killed after {after:4.1f} s and {loss.strokes:4} strokes: "
            f"{loss.seconds:.2f} s lost ({loss.lost} strokes) {loss.warnings[1:]}"
        )
    seconds = sorted(loss.seconds for loss in losses)
    print(
        f"{given.times} kills: {seconds[-1]:.2f} s lost at most, "
        f"{seconds[len(seconds) // 2]:.2f} s in the median; "
        f"{sum(second > given.most for second in seconds)} over {given.most:g} s"
    )
    sys.exit(int(seconds[-1] > given.most))


if __name__ == "__main__":
    main()
