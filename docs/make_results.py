"""Train and evaluate the cells of docs/results.md, and write its tables.

    python docs/make_results.py list
    python docs/make_results.py run --runs runs --minutes 10 [--only ph2-ensemdiff ...]
    python docs/make_results.py write

A cell is one training by a committed recipe and one evaluation of its model on val.
What is measured lands in ``docs/results/<cell>.json``; a cell that has its file is
left alone, so that a run can be stopped and gone on with at any time. Data is looked
for in ``DIFFSEG_DATA``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MEASURED = HERE / "results"
SETS = ("ph2", "nuclei", "lgg")
NETWORKS = ("ensemdiff", "segdiff", "medsegdiff")
REFERENCES = ("unet", "segformer")
SCHEDULES = {
    "linear-1e-4-0.02": ("linear", "[0.0001, 0.02]"),
    "linear-8.5e-4-0.012": ("linear", "[0.00085, 0.012]"),
    "scaled-8.5e-4-0.012": ("scaled_linear", "[0.00085, 0.012]"),
}
"""Beside linear 0.0015 to 0.0155, which is the LEAF recipes' own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its evaluation.

    Attributes
    ----------
    name : str
        Of its file in docs/results.
    table : str
        Letter of the table in docs/results.md.
    data, recipe : str
        Name of the data set's folder, and of the recipe.
    settings : tuple of str
        ``--set`` of the training.
    evaluation : tuple of str
        Further arguments of ``diffseg evaluate``.
    """

    name: str
    table: str
    data: str
    recipe: str
    settings: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()


def cells() -> Iterator[Cell]:
    """Every cell of the tables, in the order in which they are worth the time."""
    for data in SETS:
        for network in NETWORKS:
            yield Cell(f"{data}-{network}", "a", data, f"{data}-{network}")
            twin = f"{data}-{network}-feedforward"
            yield Cell(twin, "a", data, twin)
        for network in REFERENCES:
            yield Cell(f"{data}-{network}", "a", data, f"{data}-{network}")
    seeds = ("--seeds", "0,1,2,3,4,5,6,7,8,9")
    for data in ("ph2", "lgg"):
        leaf = f"{data}-leaf"
        for kind in ("x0", "v", "eps"):
            said = (f"sampling.prediction={kind}",)
            yield Cell(f"{leaf}-{kind}", "c", data, leaf, said, seeds)
            alone = (*said, "objective.alignment=0")
            yield Cell(f"{leaf}-{kind}-alone", "c", data, leaf, alone, seeds)
        for strength in ("0.125", "0.5"):
            said = (f"objective.alignment={strength}",)
            yield Cell(f"{leaf}-strength-{strength}", "c", data, leaf, said)
        for name, (schedule, betas) in SCHEDULES.items():
            said = (f"sampling.schedule={schedule}", f"sampling.betas={betas}")
            yield Cell(f"{leaf}-{name}", "c", data, leaf, said)


def run_cell(cell: Cell, runs: Path, minutes: float) -> None:
    """Train, evaluate, and keep what was measured; goes on with a run that stopped."""
    data = str(Path(os.environ["DIFFSEG_DATA"]) / cell.data)
    folder = runs / cell.name
    train = [
        *("train", cell.recipe, "--data", data, "--out", str(folder)),
        *("--minutes", str(minutes), "--json"),
        *(part for one in cell.settings for part in ("--set", one)),
    ]
    if (folder / "state" / "state.json").exists():
        train.append("--resume")
    trained = diffseg(train)
    evaluate = [
        *("evaluate", "--model", str(folder / "model"), "--data", data),
        *("--split", "val", "--out", str(folder / "val"), "--json", *cell.evaluation),
    ]
    keep(cell, minutes, {"train": trained, "val": diffseg(evaluate)})


def diffseg(arguments: Sequence[str]) -> dict[str, Any]:
    """Run one command, and read the JSON that it prints."""
    command = [str(Path(sys.executable).with_name("diffseg")), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def keep(cell: Cell, minutes: float, measured: dict[str, Any]) -> None:
    """Write a cell's file, aside and then renamed."""
    about = {
        "recipe": cell.recipe,
        "settings": list(cell.settings),
        "evaluation": list(cell.evaluation),
        "minutes": minutes,
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
    }
    text = json.dumps(rounded(about | measured), indent=1)
    MEASURED.mkdir(exist_ok=True)
    aside = MEASURED / f"{cell.name}.json.part"
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(MEASURED / f"{cell.name}.json")


def rounded(value: Any) -> Any:
    """The same with five digits after the point, and no paths of this machine."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        dropped = {"model", "curve", "path"} if "steps" in value else set()
        return {
            key: rounded(one)
            for key, one in value.items()
            if not (key in dropped and isinstance(one, str))
        }
    return [rounded(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=("list", "run", "write"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=())
    given = parser.parse_args()
    wanted = [one for one in cells() if not given.only or one.name in given.only]
    if given.do == "write":
        from results_page import write_page

        write_page(list(cells()), MEASURED, HERE / "results.md")
        return
    for cell in wanted:
        done = (MEASURED / f"{cell.name}.json").exists()
        if given.do == "list":
            print("done   " if done else "to do  ", cell.table, cell.name)
        elif not done:
            print(cell.name, flush=True)
            run_cell(cell, given.runs, given.minutes)


if __name__ == "__main__":
    main()
