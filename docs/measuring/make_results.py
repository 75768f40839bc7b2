"""Train and evaluate the cells of docs/results.md, and write its tables.

    python docs/measuring/make_results.py list
    python docs/measuring/make_results.py run --runs runs [--jobs 2] [--kill] [--only X]
    python docs/measuring/make_results.py write  # the tables and the pictures

A cell is most often one training by a committed recipe and one evaluation of its model
on val. What is measured lands in ``docs/results/<cell>.json``; a cell that has its file
is left alone, so that a run can be stopped and gone on with at any time. Trainings have
a number of steps and not of minutes: what else the machine does changes nothing. Data
is looked for in ``DIFFSEG_DATA``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date
from pathlib import Path
from typing import Any

from results_cells import Cell, cells
from results_data import data_folder

HERE = Path(__file__).parent
DOCS = HERE.parent
MEASURED = DOCS / "results"
_FOLDED = 3  # levels of a file with a line each: down to the cases
_LOOK_SECONDS = 1.0  # between looks at how far a training is


def run_cell(cell: Cell, runs: Path, threads: int, kill: bool) -> None:
    """Measure one cell, and keep what was measured; goes on with a run that stopped."""
    data = str(data_folder(cell.data, runs))
    folder = runs / cell.name
    found: dict[str, Any] = {}
    if cell.kind == "fingerprint":
        file = folder / "fingerprint.json"
        if not file.exists():
            diffseg(
                *("fingerprint", "--data", data, "--split", "train", "--json"),
                *("--out", str(folder), "--set", f"length.steps={cell.steps}"),
                *("--set", "length.minutes=600"),
                *(option.format(runs=runs) for option in cell.settings),
                threads=threads,
            )
        found["fingerprint"] = json.loads(file.read_text(encoding="utf-8"))
    elif cell.kind == "losses":
        out = folder.with_suffix(".json")
        both = (f"{runs / cell.recipe}", f"{runs / cell.recipe}-images")
        script = [sys.executable, str(HERE / "results_losses.py"), "--data", data]
        told = [part for one in both for part in ("--run", one)]
        run_command([*script, *told, "--out", str(out)], threads)
        found["losses"] = json.loads(out.read_text(encoding="utf-8"))
    elif cell.kind == "nnunet":
        found["val"] = diffseg(
            *("nnunet", "--data", data, "--out", str(folder), *cell.settings, "--json"),
            threads=threads,
        )
    if cell.kind in ("model", "part"):
        found["train"] = train(cell, data, runs, threads, kill)
    if cell.kind in ("model", "evaluation"):
        model = folder if cell.kind == "model" else runs / cell.recipe
        found["val"] = diffseg(
            *("evaluate", "--model", str(model / "model"), "--data", data),
            *("--split", "val", "--out", str(runs / cell.name / "val"), "--json"),
            *cell.evaluation,
            threads=threads,
        )
    keep(cell, threads, found)


def train(
    cell: Cell, data: str, runs: Path, threads: int, kill: bool
) -> dict[str, Any]:
    """Train one cell, killed once half way where that is wanted."""
    folder = runs / cell.name
    lengths = (f"length.steps={cell.steps}", "length.minutes=600")
    settings = (*lengths, "length.validations=1", *cell.settings)
    command = [
        *("train", cell.recipe, "--data", data, "--out", str(folder), "--json"),
        *(part for one in settings for part in ("--set", one.format(runs=runs))),
    ]
    state = folder / "state" / "state.json"
    if kill and not state.exists():
        often = ("--set", "length.checkpoint_minutes=0.2")
        kill_half_way([*command, *often], folder, cell.steps, threads)
    if state.exists():
        command.append("--resume")
    told = diffseg(*command, threads=threads)
    log = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, log) if "validation" in row]
    told["validations"] = {row["step"]: row["validation"]["score"] for row in rows}
    sittings = json.loads(state.read_text(encoding="utf-8"))["sittings"]
    told["sittings_from_step"] = [one["from_step"] for one in sittings]
    return told


def kill_half_way(
    command: Sequence[str], folder: Path, steps: int, threads: int
) -> None:
    """Start a training, and end it half way as a power cut would."""
    running = subprocess.Popen(
        [program(), *command], stdout=subprocess.DEVNULL, env=environment(threads)
    )
    log, step = folder / "log.jsonl", 0
    while running.poll() is None:
        if log.exists() and (lines := log.read_text(encoding="utf-8").splitlines()):
            step = json.loads(lines[-1])["step"]
        if step >= steps // 2 and (folder / "state" / "state.json").exists():
            running.send_signal(signal.SIGKILL)
            running.wait()
            return
        time.sleep(_LOOK_SECONDS)


def program() -> str:
    """The command line program beside this Python."""
    return str(Path(sys.executable).with_name("diffseg"))


def environment(threads: int) -> dict[str, str]:
    """That of a command which computes with some threads."""
    return os.environ | {"OMP_NUM_THREADS": str(threads)}


def diffseg(*arguments: str, threads: int) -> dict[str, Any]:
    """Run one command, and read the JSON that it prints."""
    result: dict[str, Any] = json.loads(run_command([program(), *arguments], threads))
    return result


def run_command(command: Sequence[str], threads: int) -> bytes:
    """What a command printed; its errors are seen as they come."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, env=environment(threads)
    )
    return done.stdout


def keep(cell: Cell, threads: int, measured: dict[str, Any]) -> None:
    """Write a cell's file, aside and then renamed."""
    about = {
        "recipe": cell.recipe,
        "settings": list(cell.settings),
        "evaluation": list(cell.evaluation),
        "date": date.today().isoformat(),
        "threads": threads,
        "processor": platform.processor() or platform.machine(),
    }
    text = folded(rounded(about | measured))
    MEASURED.mkdir(exist_ok=True)
    aside = MEASURED / f"{cell.name}.json.part"
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(MEASURED / f"{cell.name}.json")


def folded(value: Any, levels: int = _FOLDED) -> str:
    """JSON with a line for each entry of its outer levels."""
    if not levels or not value or not isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, dict):
        each = [
            f"{json.dumps(str(key))}: {folded(one, levels - 1)}"
            for key, one in value.items()
        ]
        return "{\n" + ",\n".join(each) + "\n}"
    return "[\n" + ",\n".join(folded(one, levels - 1) for one in value) + "\n]"


def rounded(value: Any) -> Any:
    """The same with five significant digits, without long curves and local folders."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, str):
        return Path(value).name if value.startswith("/") else value
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items() if key != "curve"}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def attempt(
    cell: Cell, after: Sequence[Future[None]], runs: Path, threads: int, kill: bool
) -> None:
    """Run a cell after those that it needs; a failure is told, and the rest go on."""
    wait(after)
    print(f"{time.strftime('%H:%M')} {cell.name}", flush=True)
    try:
        run_cell(cell, runs, threads, kill)
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        print(f"{cell.name} failed: {error}", file=sys.stderr, flush=True)


def run_all(wanted: Sequence[Cell], runs: Path, jobs: int, kill: bool) -> None:
    """Run the cells that have no file yet, some at once, in their order."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    started: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for cell in wanted:
            if (MEASURED / f"{cell.name}.json").exists():
                continue
            after = [started[name] for name in cell.needs if name in started]
            started[cell.name] = pool.submit(attempt, cell, after, runs, threads, kill)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=("list", "run", "write"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--jobs", type=int, default=1, help="cells at once")
    parser.add_argument("--kill", action="store_true", help="and resume each training")
    parser.add_argument("--only", nargs="*", default=(), help="beginnings of names")
    given = parser.parse_args()
    only = tuple(given.only)
    wanted = [one for one in cells() if not only or one.name.startswith(only)]
    if given.do == "write":
        from results_page import write_page

        write_page(list(cells()), MEASURED, DOCS / "results.md")
    elif given.do == "list":
        for cell in wanted:
            done = (MEASURED / f"{cell.name}.json").exists()
            print("done   " if done else "to do  ", cell.table, cell.name)
    else:
        run_all(wanted, given.runs.resolve(), given.jobs, given.kill)


if __name__ == "__main__":
    main()
