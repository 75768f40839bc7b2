"""What each step of a ladder adds, with 95 % intervals over patients, and over sets.

    python docs/measuring/text_effects.py ladder

Of what `text_ladder.py run` left in a folder, step by step: the mean Dice of masks as
they come and by Otsu's threshold, minus that of the step named, paired by slice. Of the
mean over sets patients are drawn anew within each set, so that every set counts the
same, however many slices it has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from text_steps import STEPS

DRAWS, SEED = 1000, 0
RULES = {"dice labels": "as they come", "dice otsu": "Otsu"}
Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]


def main(
    out: Annotated[Path, typer.Argument(help="Folder of sets that were run.")],
    against: Annotated[
        str, typer.Option(help="A step, or before: each against the one before it.")
    ] = "before",
) -> None:
    """Print a table of each rule."""
    sets = {path.parent.name: path.parent for path in sorted(out.glob("*/told.json"))}
    steps = list(STEPS)
    for rule, title in RULES.items():
        print(f"| Dice, {title} | {' | '.join(sets)} | mean of sets |")
        print("|---" * (2 + len(sets)) + "|")
        for before, step in pairwise(steps):
            other = before if against == "before" else against
            if step == other:
                continue
            each = [effect(_rows(home, step), _rows(home, other), rule)
                    for home in sets.values()]  # fmt: skip
            cells = [cell(*one) for one in each]
            values, draws = zip(*each, strict=True)
            mean = cell(float(np.mean(values)), np.mean(draws, axis=0))
            print(f"| {STEPS[step]} | {' | '.join(cells)} | {mean} |")
        print()


def effect(ours: Rows, theirs: Rows, rule: str) -> tuple[float, Floats]:
    """Mean difference of two steps, and the same of patients drawn with replacement."""
    other = {row["case"]: row[rule] for row in theirs}
    groups: dict[str, list[float]] = {}
    for row in ours:
        groups.setdefault(row["group"], []).append(row[rule] - other[row["case"]])
    sums = np.array([sum(one) for one in groups.values()])
    sizes = np.array([len(one) for one in groups.values()])
    random = np.random.default_rng(SEED)
    drawn = random.integers(len(sums), size=(DRAWS, len(sums)))
    means: Floats = sums[drawn].sum(1) / sizes[drawn].sum(1)
    return float(sums.sum() / sizes.sum()), means


def cell(value: float, draws: Floats) -> str:
    """A difference with its interval."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _rows(home: Path, step: str) -> Rows:
    found: Rows = json.loads((home / f"{step}.json").read_text())["slices"]
    return found


if __name__ == "__main__":
    typer.run(main)
