"""Kill a process that writes into a project, at any moment, and tell what is lost.

``python tests/project/store/kill_store.py --times 200``, and the same with
``--postgresql``, which starts a server of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, LabelTable, Presence
from diffseg.progress import run
from diffseg.project import store

SHAPE = (20, 48, 48)
CASES = 3
TABLE = LabelTable(
    labels=(Label(name="left", value=1), Label(name="right", value=2))  # type: ignore[call-arg]
)


@dataclass
class Figures:
    """What the kills cost, all together."""

    kills: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    half_written: int = 0
    orphans: int = 0
    left: list[str] = field(default_factory=list)

    @property
    def trouble(self) -> list[str]:
        """All that must not be."""
        return [*self.damage, *self.lost, *self.left]

    def line(self) -> str:
        return (
            f"{self.kills} kills: {len(self.damage)} projects damaged, "
            f"{len(self.lost)} of {self.acknowledged} acknowledged writes lost; "
            f"{self.half_written} half written files and {self.orphans} files without "
            f"a row were found, {len(self.left)} of them left after recover"
        )


def digest(mask: NDArray[np.uint8]) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()


def make(folder: Path, url: str | None) -> None:
    """Make a project of some cases."""
    with store.create_project(
        folder / "study", labels=TABLE, database=url, annotator="anna"
    ) as project:
        for index in range(CASES):
            path = folder / f"{index}.nii.gz"
            nib.save(
                nib.Nifti1Image(np.full(SHAPE[::-1], index, np.int16), np.eye(4)), path
            )
            store.add_case(project, path, annotator="anna")


def write(folder: Path, seed: int) -> None:
    """Write until killed; each write is told of, unbuffered, once it returned."""
    log = os.open(folder / "told.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    project = store.open_project(folder / "study", patience=30)
    cases = [line.id for line in store.list_cases(project).lines]
    for index, work in enumerate((_corrections, _words)):
        given = (project, cases, random.Random(seed + index), _teller(log))
        threading.Thread(target=work, args=given, daemon=True).start()
    time.sleep(600)


def _teller(log: int) -> Callable[[Any], None]:
    return lambda told: os.write(log, (json.dumps(told) + "\n").encode()) and None


def _corrections(
    project: store.Project,
    cases: list[str],
    rng: random.Random,
    tell: Callable[[Any], None],
) -> None:
    parents: dict[str, str] = {}
    values = np.random.default_rng(rng.randrange(2**32))
    while True:
        case = rng.choice(cases)
        mask = values.integers(0, 3, SHAPE, np.uint8)
        made = store.add_correction(
            project, case, mask, annotator="anna", parent=parents.get(case),
            touched=mask > 0 if rng.random() < 0.5 else None,
        )  # fmt: skip
        parents[case] = made.id
        tell(["correction", made.id, digest(mask)])


def _words(
    project: store.Project,
    cases: list[str],
    rng: random.Random,
    tell: Callable[[Any], None],
) -> None:
    while True:
        case, name = rng.choice(cases), rng.choice(TABLE.names)
        state = rng.choice(list(Presence))
        said = store.set_label(project, case, name, state, annotator="bo")
        tell(["label", case, said.id, name, state.value])
        index = rng.randrange(SHAPE[0])
        store.tick_slices(project, case, [index], annotator="bo")
        tell(["slice", case, index])
        store.set_review(project, case, store.State.IN_PROGRESS, reviewer="bo")
        tell(["review", case])


def kill_once(folder: Path, after: float, seed: int, figures: Figures) -> str:
    """Start a child that writes, kill it, check, compare, repair, check again."""
    log = folder / "told.log"
    before = log.stat().st_size if log.exists() else 0
    child = multiprocessing.get_context("fork").Process(
        target=write, args=(folder, seed)
    )
    child.start()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        log.exists() and log.stat().st_size > before
    ):
        time.sleep(0.002)
    time.sleep(after)
    child.kill()
    child.join()
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    told = [json.loads(line) for line in lines if line.endswith("\n")]
    log.write_text("".join(line for line in lines if line.endswith("\n")))
    health = run(store.check_folder(folder / "study"))
    strange = [one for one in health.findings if not one.trouble.is_damage]
    half = sum(one.trouble is store.Trouble.HALF_WRITTEN for one in strange)
    figures.half_written += half
    figures.orphans += len(strange) - half
    figures.damage += [] if health.sound else [str(health.findings)]
    lost = missing(folder / "study", told)
    repaired = run(store.recover(folder / "study"))
    figures.left += [str(one) for one in repaired.health.findings]
    lost |= missing(folder / "study", told)
    figures.lost += lost
    figures.kills += 1
    figures.acknowledged += len(told) - lines_before(folder)
    (folder / "count").write_text(str(len(told)))
    return (
        f"killed {after:.2f} s after its first write; {len(told)} writes so far, "
        f"{len(lost)} lost, {half} half written, {len(strange) - half} without a row"
    )


def lines_before(folder: Path) -> int:
    """Writes that were acknowledged before this kill's child."""
    count = folder / "count"
    return int(count.read_text()) if count.exists() else 0


def missing(folder: Path, told: list[list[Any]]) -> set[str]:
    """Acknowledged writes that are not there, or not as they were."""
    lost = set()
    with store.open_project(folder) as project:
        cases = [line.id for line in store.list_cases(project).lines]
        masks = {
            one.id: one for case in cases for one in store.corrections_of(project, case)
        }
        said = {
            (case, one.id): (one.label, one.state.value)
            for case in cases
            for one in store.statements_of(project, case)
        }
        seen = {case: store.seen_slices(project, case) for case in cases}
        for entry in told:
            kind, *what = entry
            if kind == "correction":
                found = masks.get(what[0])
                sound = found is not None and (
                    digest(store.read_correction(project, found)) == what[1]
                )
            elif kind == "label":
                sound = said.get((what[0], what[1])) == tuple(what[2:])
            elif kind == "slice":
                sound = what[1] in seen[what[0]]
            else:
                review = store.review_of(project, what[0])
                sound = review.state is store.State.IN_PROGRESS
            if not sound:
                lost.add(json.dumps(entry))
    return lost


@contextmanager
def database(wanted: bool) -> Iterator[str | None]:
    """A server of its own, or none."""
    if not wanted:
        yield None
        return
    import postgres

    place = postgres.binaries()
    if place is None:
        sys.exit("no PostgreSQL server is installed (apt install postgresql)")
    with postgres.server(place, durable=True) as url:
        yield url


def kill_often(
    times: int,
    *,
    seed: int = 0,
    longest: float = 0.6,
    each: int = 20,
    postgresql: bool = False,
) -> Figures:
    """Kill that many writers, at random moments; prints each.

    Parameters
    ----------
    longest : float
        Seconds of writing.
    each : int
        Kills of one project, before the next is made.
    """
    rng, figures = random.Random(seed), Figures()
    with database(postgresql) as url:
        while figures.kills < times:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                make(folder, url)
                for _ in range(min(each, times - figures.kills)):
                    after = rng.uniform(0.0, longest)
                    said = kill_once(folder, after, seed + 2 * figures.kills, figures)
                    print(f"{figures.kills:3}: {said}", flush=True)
    return figures


def main() -> None:
    """Kill as often as asked, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=0.6, help="s of writing")
    parser.add_argument("--each", type=int, default=20, help="kills of one project")
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    figures = kill_often(
        given.times,
        seed=given.seed,
        longest=given.longest,
        each=given.each,
        postgresql=given.postgresql,
    )
    print(figures.line())
    for line in figures.trouble:
        print(line)
    sys.exit(bool(figures.trouble))


if __name__ == "__main__":
    main()
