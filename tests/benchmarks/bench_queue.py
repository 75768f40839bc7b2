"""How long the queue of a large project takes, by strategy, and summing a case up.

``python tests/benchmarks/bench_queue.py --cases 10000``
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select

from diffseg.domain import Label, LabelTable
from diffseg.ensemble.routing import Candidate
from diffseg.project import review, store
from diffseg.project.store import schema, summaries
from diffseg.project.store.sources import told_grid
from diffseg.volume import Affine, Grid

TABLE = LabelTable(
    labels=(Label(name="left", value=1), Label(name="right", value=2))  # type: ignore[call-arg]
)
MODEL = {"id": "m", "version": "1", "sha256": "0" * 64}


def fill(project: store.Project, cases: int, reviewed: float) -> None:
    """Put cases with proposals in, as numbers alone."""
    rng = np.random.default_rng(0)
    grid = told_grid(Grid((300, 512, 512), Affine.identity()))
    rows, proposals, known, reviews = [], [], [], []
    for index in range(cases):
        id = f"{index:016x}"
        rows.append(
            {
                "id": id, "name": f"case {index:05}", "paths": ["/x"],
                "sha256": f"{index:064x}", "grid": grid, "frame": None,
                "series": None, "modality": "MR", "added": 1.7e9,
                "changed": 1.7e9 + index, "versions": 0,
            }
        )  # fmt: skip
        proposals.append(
            {
                "id": f"p{index:015x}", "case_id": id, "model_id": "m",
                "model_version": "1", "model_sha256": "0" * 64, "seed": 0,
                "members": 4, "steps": 1, "files": {},
                "labels": TABLE.model_dump(mode="json"), "annotator": "anna",
                "at": 1.7e9,
            }
        )  # fmt: skip
        numbers = summaries.packed(candidate(rng)).tobytes()
        known.append(
            {
                "proposal": f"p{index:015x}",
                "labels": json.dumps(TABLE.names),
                "numbers": numbers,
            }
        )
        if rng.random() < reviewed:
            reviews.append(
                {
                    "case_id": id, "role": "first", "state": "done", "comment": "",
                    "reviewer": "anna", "correction": None, "at": 1.7e9 + index,
                }
            )  # fmt: skip
    with project.write() as db:
        db.execute(insert(schema.models), {**MODEL, "first_used": 1.7e9})
        db.execute(insert(schema.cases), rows)
        db.execute(insert(schema.proposals), proposals)
        db.execute(insert(schema.summaries), known)
        if reviews:
            db.execute(insert(schema.reviews), reviews)


def candidate(rng: np.random.Generator) -> Candidate:
    """A case in numbers that are drawn."""
    some = rng.random((2, 6))
    return Candidate(
        case="",
        slice=None,
        volumes=tuple((5000 * some[:, 0]).round().tolist()),
        centroids=tuple(tuple(row) for row in some[:, 1:4].tolist()),
        doubts=tuple((some[:, 4] / 3).tolist()),
        entropy=float(some[0, 4] / 3),
        information=float(some[1, 4] / 5),
        expected_dice=tuple((0.7 + 0.3 * some[:, 5]).tolist()),
        histogram=tuple(rng.dirichlet(np.ones(5)).tolist()),
    )


def took(what: str, work: Callable[[], object], times: int = 5) -> None:
    """Print how long something takes, the first time and in the median."""
    seconds: list[float] = []
    cpu: list[float] = []
    for _ in range(times):
        began, busy = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    print(
        f"{what:40} first {seconds[0] * 1000:8.1f} ms, "
        f"median {statistics.median(seconds) * 1000:8.1f} ms, "
        f"of this process {statistics.median(cpu) * 1000:8.1f} ms"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--reviewed", type=float, default=0.1, help="share of cases")
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--database", help="URL of PostgreSQL")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "study"
        with store.create_project(
            place, labels=TABLE, database=given.database, annotator="anna"
        ) as project:
            fill(project, given.cases, given.reviewed)
            with project.read() as db:
                found = db.execute(select(schema.summaries.c.numbers)).scalars().all()
            print(f"{len(found)} rows of {len(found[0])} bytes")
            took("where every case stands", lambda: store.standings(project))
            for strategy in review.ORDERS:
                took(
                    f"queue by {strategy}",
                    lambda by=strategy: review.queue(project, strategy=by),  # type: ignore[misc]
                )
    shape = tuple(given.shape)
    mask = np.zeros(shape, np.uint8)
    low, high = shape[0] // 3, 2 * shape[0] // 3
    mask[low:high, 100:200, 100:200], mask[low:high, 100:200, 200:300] = 1, 2
    probability = np.stack([mask == 1, mask == 2]).astype(np.float32) * np.float32(0.9)
    uncertainty = probability.max(axis=0) / 10
    took(
        f"sum up a proposal of {given.shape}",
        lambda: summaries.summary_of("c", TABLE, probability, mask, uncertainty),
        1,
    )


if __name__ == "__main__":
    main()
