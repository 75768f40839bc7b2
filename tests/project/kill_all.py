"""Kill the store's writer and whole windows, at random, and print what it costs.

``python tests/project/kill_all.py --store 200 --postgresql 60 --window 20``

The writer writes masks, labels and reviews all the time; a window is painted in, while
it proposes, saves or fine-tunes, in turn. Ends with status 1 where a project is
damaged, something that was told to be kept is gone, strokes of more than two seconds
are lost, a fine-tuning cannot go on, or a process stays.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
MOST_S = 2.0
"""Seconds of strokes that a kill may cost."""
HEADLINES = (
    "killed",
    "kills",
    "in the midst",
    "projects damaged",
    "kept writes lost",
    "strokes lost, at most",
    "median",
    "over 2 s",
    "processes left",
    "other trouble",
)


@dataclass
class Row:
    """What the kills of one kind cost.

    Parameters
    ----------
    midst : int, optional
        Of the kills, those that fell into the work and not between two of its kind.
    kept, lost : int
        What was told to be kept; and what of it is gone.
    seconds : list of float
        Of strokes that were lost, a kill each.
    left : int, optional
        Processes that had to be ended.
    other : int
        Kills after which something else was wrong.
    """

    what: str
    kills: int = 0
    midst: int | None = None
    damaged: int = 0
    kept: int = 0
    lost: int = 0
    seconds: list[float] = field(default_factory=list)
    left: int | None = None
    other: int = 0

    @property
    def over(self) -> int:
        """Kills that cost more strokes than they may."""
        return sum(one > MOST_S for one in self.seconds)

    @property
    def bad(self) -> bool:
        """Whether something is not as it must be."""
        return bool(self.damaged or self.lost or self.over or self.left or self.other)

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        some = self.seconds
        return (
            self.what,
            str(self.kills),
            _or_dash(self.midst),
            str(self.damaged),
            f"{self.lost} of {self.kept}",
            f"{max(some):.2f} s" if some else "-",
            f"{statistics.median(some):.2f} s" if some else "-",
            str(self.over) if some else "-",
            _or_dash(self.left),
            str(self.other),
        )


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def of_store(times: int, seed: int, postgresql: bool) -> list[Row]:
    """Kill the store's writer."""
    import kill_store

    found = kill_store.kill_often(times, seed=seed, postgresql=postgresql)
    for line in found.trouble:
        print(line)
    return [
        Row(
            f"writer, {'PostgreSQL' if postgresql else 'SQLite'}",
            kills=found.kills,
            damaged=len(found.damage),
            kept=found.acknowledged,
            lost=len(found.lost),
            other=len(found.left),
        )
    ]


def of_windows(times: int, seed: int) -> list[Row]:
    """Kill windows; a row for each thing that they did."""
    import kill_window

    rows: dict[str, Row] = {}
    for kill in kill_window.kills(times, seed, project=True):
        found = kill.found
        assert found is not None
        row = rows.setdefault(kill.work, Row(f"window, {kill.work}", midst=0, left=0))
        row.kills += 1
        row.midst = (row.midst or 0) + kill.midst
        row.damaged += bool(found.damage)
        row.kept += found.acknowledged
        row.lost += len(found.gone)
        row.seconds.append(kill.seconds)
        row.left = (row.left or 0) + kill.left
        row.other += bool(found.stuck or found.left)
    return list(rows.values())


def table(rows: Sequence[Row]) -> str:
    """The rows below their headlines, as Markdown."""
    lines = [HEADLINES, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADLINES))]
    told = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    told.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(told)


def verdict(rows: Sequence[Row]) -> str:
    """All in one line."""
    seconds = [one for row in rows for one in row.seconds]
    strokes = f", at most {max(seconds):.2f} s of strokes lost" if seconds else ""
    lost, kept = sum(row.lost for row in rows), sum(row.kept for row in rows)
    return (
        f"{sum(row.kills for row in rows)} kills: "
        f"{sum(row.damaged for row in rows)} projects damaged, {lost} of {kept} kept "
        f"writes lost{strokes}"
    )


def main() -> int:
    """Kill as often as asked, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=int, default=200, help="kills on SQLite")
    parser.add_argument("--postgresql", type=int, default=0, help="kills on a server")
    parser.add_argument("--window", type=int, default=20, help="kills of windows")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path[:0] = [str(HERE / "store"), str(HERE.parent / "plugin" / "robot")]
    began, rows = time.monotonic(), list[Row]()
    # The writers first: they are forked, and the window's libraries bring threads.
    for times, server in ((given.store, False), (given.postgresql, True)):
        rows += of_store(times, given.seed, server) if times else []
    rows += of_windows(given.window, given.seed) if given.window else []
    print(f"\n{table(rows)}\n")
    print(f"{verdict(rows)} ({(time.monotonic() - began) / 60:.0f} minutes)")
    return int(any(row.bad for row in rows))


if __name__ == "__main__":
    sys.exit(main())
