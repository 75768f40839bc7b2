"""How long a large project takes to list, to sort, to label and to save into.

``python tests/benchmarks/bench_project.py --cases 10000``
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from diffseg.domain import Label, LabelTable, Presence
from diffseg.project import store
from diffseg.project.store import schema
from diffseg.project.store.sources import told_grid
from diffseg.volume import Affine, Grid

TABLE = LabelTable(
    labels=(Label(name="left", value=1), Label(name="right", value=2))  # type: ignore[call-arg]
)


def fill(project: store.Project, cases: int, grid: Grid) -> None:
    """Put cases in as `add_cases` does, without their images."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"{index:016x}", "name": f"case {rng.integers(10**9):09}-{index}",
            "paths": [f"/scans/{index}.nii.gz"], "sha256": f"{index:064x}",
            "grid": told_grid(grid), "frame": None, "series": None,
            "modality": ("MR", "CT")[index % 2], "added": 1.7e9 + index,
            "changed": 1.7e9 + int(rng.integers(10**6)), "versions": index % 4,
        }
        for index in range(cases)
    ]  # fmt: skip
    states = [one.value for one in store.State]
    reviews = [
        {
            "case_id": row["id"], "role": "first", "state": states[index % 4],
            "comment": "", "reviewer": "anna", "correction": None, "at": 1.7e9,
        }
        for index, row in enumerate(rows)
    ]  # fmt: skip
    with project.write() as db:
        db.execute(insert(schema.cases), rows)
        db.execute(insert(schema.reviews), reviews)


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
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--database", help="URL of PostgreSQL")
    given = parser.parse_args()
    grid = Grid(tuple(given.shape), Affine.identity())
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "study"
        with store.create_project(
            place, labels=TABLE, database=given.database, annotator="anna"
        ) as project:
            fill(project, given.cases, grid)
        took("open", lambda: store.open_project(place).close())
        with store.open_project(place) as project:
            for order in store.ORDERS:
                took(
                    f"list 100 by {order}",
                    lambda by=order: store.list_cases(project, order=by),  # type: ignore[misc]
                )
            took("list all by name", lambda: store.list_cases(project, limit=None))
            took(
                "list flagged",
                lambda: store.list_cases(project, state=store.State.FLAGGED),
            )
            took("search a name", lambda: store.list_cases(project, search="77"))
            case = store.list_cases(project, limit=1).lines[0].id
            took(
                "say a label",
                lambda: store.set_label(
                    project, case, "left", Presence.PRESENT, annotator="anna"
                ),
            )
            mask = np.zeros(grid.shape, np.uint8)
            mask[100:200, 100:300, 100:300] = 1
            took(
                f"save a mask of {given.shape}",
                lambda: store.add_correction(project, case, mask, annotator="anna"),
                3,
            )


if __name__ == "__main__":
    main()
