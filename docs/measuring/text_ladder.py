"""DiCLIP step by step: what each part adds to plain patch-text maps, by Dice and IoU.

    python docs/measuring/text_ladder.py run --pair CLIP,DIFFUSION --data DIR --sets
        lgg,ph2,nuclei --out ladder
    python docs/measuring/text_ladder.py sweep --set lgg --out ladder
    python docs/measuring/text_ladder.py show --out ladder

`run` builds the cache and trains adapter and head on the split train by image-level
labels alone, and draws test with each step of the ladder; a set without test gives half
of the patients of val. With `--fold N` patients are parted anew, into five: not where
the pair learnt from the set, as it has then seen test. It goes on where it stopped.

Each step is scored by three rules: masks as the model gives them, Otsu's threshold of
its probability (both by labels alone), and the threshold that masks of val chose. Sets
of one structure, each a folder of DIR; slices with the structure are drawn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from text_steps import (
    RULES,
    STEPS,
    SWEPT,
    Drawn,
    drawn_by,
    mean_dice,
    model_of,
    recipe_of,
    scored,
    swept_model,
    threshold_on,
)
from weak_folds import by_its_own, mean_cell, once, parted, trained

from diffseg.domain import Presence
from diffseg.errors import UserError
from diffseg.segmenters.diclip import Diclip
from diffseg.volume import atomic_write_bytes
from diffseg_training.dataset import Case, Dataset, load_dataset
from diffseg_training.evenly import evenly

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Out = Annotated[Path, typer.Option(help="Where runs and numbers are kept.")]
Most = Annotated[int, typer.Option(help="Most slices of a split, evenly over it.")]
_TOLD = "told.json"


@app.command()
def run(
    pair: Annotated[str, typer.Option(help="CLIP,DIFFUSION: names or folders.")],
    data: Annotated[Path, typer.Option(help="Folder of the sets.")],
    sets: Annotated[str, typer.Option(help="Names of its folders, with commas.")],
    out: Out,
    words: Annotated[
        Path | None, typer.Option(help="Folder of prompts files, one SET.yaml each.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, max=4, help="Part the patients anew.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Of adapter and head.")] = 10.0,
    most: Most = 100,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Of the recipe, as objective.variant=code."),
    ] = None,
) -> None:
    """Train and draw every step of every set."""
    clip, comma, diffusion = pair.partition(",")
    if not comma or not clip or not diffusion:
        raise typer.BadParameter("give CLIP,DIFFUSION", param_hint="--pair")
    for name in [one.strip() for one in sets.split(",") if one.strip()]:
        home = out / name
        manifest = home / "manifest.csv"
        if not manifest.is_file():
            source = data / name
            by_its_own(source, home) if fold is None else parted(source, home, fold)
        dataset = load_dataset(manifest)
        given = words / f"{name}.yaml" if words is not None else None
        recipe = recipe_of(name, dataset, clip, diffusion, given, home)
        length = f"length.minutes={minutes}"
        given_too = [length, *(set_ or [])]
        trained(str(recipe), manifest, home / "run", given_too, "cached")
        told = {"set": name, "pair": [clip, diffusion], "fold": fold, "most": most}
        told |= {"minutes": minutes, "changed": list(set_ or [])}
        atomic_write_bytes(home / _TOLD, json.dumps(told).encode())
        for step in STEPS:
            once(home / f"{step}.json", partial(_of_step, home, dataset, step, most))
    show(out)


@app.command()
def sweep(
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Out,
    what: Annotated[
        str, typer.Option(help="clusters, rounds, weight; with commas.")
    ] = "clusters,rounds,weight",
    most: Most = 40,
) -> None:
    """Try settings of the cache one at a time; mean Dice on val, as masks come."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    cases = showing(dataset, "val", most)
    for name in what.split(","):
        if name not in SWEPT:
            raise typer.BadParameter(f"{name!r}; give {', '.join(SWEPT)}")
        for value in SWEPT[name]:
            path = home / f"sweep-{name}-{value:g}.json"
            one = once(path, partial(_of_setting, home, dataset, cases, name, value))
            print(f"{name} {value:g}: {one['dice']:.3f} on {one['slices']} slices")


@app.command()
def show(out: Out) -> None:
    """Print the ladder of each set: means over slices, 95 % intervals over patients."""
    told = [f"Dice, {rule}" for rule in RULES] + ["IoU, labels", "IoU, masks", "FP/TP"]
    print(f"| set | step | slices | {' | '.join(told)} |")
    print("|---" * (3 + len(told)) + "|")
    for home in sorted(path.parent for path in out.glob(f"*/{_TOLD}")):
        for step in STEPS:
            path = home / f"{step}.json"
            if path.is_file():
                found = json.loads(path.read_text())
                print(f"| {home.name} | {STEPS[step]} | {' | '.join(_cells(found))} |")


def showing(dataset: Dataset, split: str, most: int) -> list[Case]:
    """Cases of a split that are said to show the structure, at most so many."""
    (name,) = dataset.labels.names
    having = [
        case
        for case in dataset.split(split)
        if case.mask is not None and case.labels[name] is Presence.PRESENT
    ]
    if not having:
        raise UserError(f"split {split} of {dataset.root} shows {name} in no image")
    return evenly(having, most)


def of_model(model: Diclip, dataset: Dataset, most: int) -> dict[str, Any]:
    """Scores of each test slice by a model, by each rule."""
    drawn: dict[str, list[Drawn]] = {
        split: list(drawn_by(model, dataset, showing(dataset, split, most)))
        for split in ("val", "test")
    }
    value, dice = threshold_on(drawn["val"])
    rows = [scored(one, value) for one in drawn["test"]]
    chosen = {"threshold": value, "dice": dice, "slices": len(drawn["val"])}
    return {"chosen on val": chosen, "slices": rows}


def _of_step(home: Path, dataset: Dataset, step: str, most: int) -> dict[str, Any]:
    """Scores of a step's model."""
    return {"step": step, **of_model(model_of(home / "run", step), dataset, most)}


def _of_setting(
    home: Path, dataset: Dataset, cases: Sequence[Case], name: str, value: float
) -> dict[str, Any]:
    model = swept_model(home / "run", dataset, name, value)
    drawn = list(drawn_by(model, dataset, cases))
    return {"dice": mean_dice(drawn), "slices": len(drawn), name: value}


def _cells(found: dict[str, Any]) -> list[str]:
    rows = found["slices"]
    groups = [row["group"] for row in rows]
    cells = [f"{len(rows)}"]
    keys = [f"dice {rule}" for rule in RULES] + ["iou labels", "iou masks"]
    for key in keys:
        values = [row[key] for row in rows]
        cells.append(mean_cell(values, groups))
    right, wrong = (sum(row[key] for row in rows) for key in ("right", "wrong"))
    cells.append(f"{wrong / right:.2f}" if right else "-")
    return cells


if __name__ == "__main__":
    try:
        app()
    except UserError as err:
        print(err, file=sys.stderr)
        sys.exit(2)
