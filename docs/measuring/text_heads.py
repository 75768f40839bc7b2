"""Heads of DiCLIP: two decoders, taught by image-level labels and by masks of train.

    python docs/measuring/text_heads.py run --set ph2 --out ladder --steps 300
    python docs/measuring/text_heads.py show --out ladder

`--out` is where `text_ladder.py run` left its models: the model with the cache teaches,
by its pseudo masks, or, in full supervision, lends its backbones alone while what
persons drew stands in the place of every pseudo mask, as in a fine-tuning. All else is
the same: images, steps, seed. Weights are chosen on val, by pseudo masks where labels
teach and by masks where masks do. The share of full supervision is the one mean Dice
over the other.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from text_ladder import Most, Out, of_model
from text_steps import RULES, answering
from weak_folds import mean_cell, once

from diffseg.models.folder import read_folder
from diffseg.progress import run as finish
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.labelled import prepare_labelled
from diffseg_training.recipe import load_recipe
from diffseg_training.settings.diclip import Settings
from diffseg_training.text.taught_model import filled_recipe
from diffseg_training.text.trained_model import write_trained
from diffseg_training.trainer import iter_train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
DECODERS = ("convolution", "transformer")
TEACHERS = ("labels", "masks")


@app.command()
def run(
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Out,
    steps: Annotated[int, typer.Option(help="Of each head.")] = 300,
    most: Most = 60,
) -> None:
    """Train and draw four heads."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    for decoder in DECODERS:
        for teacher in TEACHERS:
            path = home / f"head-{decoder}-{teacher}.json"
            work = partial(_of_head, home, dataset, decoder, teacher, steps, most)
            once(path, work)
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print the Dice of each head, and the share of full supervision."""
    told = [f"Dice, {rule}" for rule in RULES]
    print(f"| set | decoder | taught by | slices | {' | '.join(told)} | share |")
    print("|---" * (5 + len(told)) + "|")
    for home in sorted({path.parent for path in out.glob("*/head-*-*.json")}):
        for decoder in DECODERS:
            paths = {one: home / f"head-{decoder}-{one}.json" for one in TEACHERS}
            if not all(path.is_file() for path in paths.values()):
                continue
            rows = {
                teacher: json.loads(path.read_text())["slices"]
                for teacher, path in paths.items()
            }
            for teacher, found in rows.items():
                groups = [row["group"] for row in found]
                cells = [
                    mean_cell([row[f"dice {rule}"] for row in found], groups)
                    for rule in RULES
                ]
                share = _share(rows) if teacher == "labels" else ""
                start = f"| {home.name} | {decoder} | {teacher} | {len(found)} "
                print(f"{start}| {' | '.join(cells)} | {share} |")


def _share(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Dice of masks as they come: what labels reach of what masks do."""
    weak, full = (
        float(np.mean([row["dice labels"] for row in rows[one]])) for one in TEACHERS
    )
    return f"{weak / full:.1%}"


def _of_head(
    home: Path, dataset: Dataset, decoder: str, teacher: str, steps: int, most: int
) -> dict[str, Any]:
    """Train one head, in a folder of its own, and score what it draws."""
    folder = home / f"head-{decoder}-{teacher}"
    told = trained_head(home, folder, dataset, decoder, steps, drawn=teacher == "masks")
    model = answering(read_folder(folder / "model"), "head")
    return {"steps": steps, **told, **of_model(model, dataset, most)}


def trained_head(
    home: Path, folder: Path, dataset: Dataset, decoder: str, steps: int, *, drawn: bool
) -> dict[str, Any]:
    """Train adapter and head of the model with the cache; tell how it went."""
    given = [f"length.steps={steps}", f"objective.head.decoder={decoder}"]
    recipe = load_recipe(str(home / "recipe.yaml"), given)
    config = recipe.objective
    assert isinstance(config, Settings)
    teacher = read_folder(home / "run" / "cached" / "model")
    train, val = (
        finish(
            prepare_labelled(
                dataset.split(split),
                dataset,
                recipe.preparation,
                recipe.labels,
                drawn=drawn,
            )
        )
        for split in ("train", "val")
    )
    filled = filled_recipe(recipe, config, teacher, train[0], folder, "cpu")
    resume = (folder / "state" / "state.json").is_file()
    folder.mkdir(parents=True, exist_ok=True)
    result = finish(
        iter_train(
            filled, train, None, folder, device="cpu", resume=resume, held_out=val
        )
    )
    write_trained(filled, dataset, teacher, result, folder / "model")
    return {"minutes": result.minutes, "on val": dict(result.best)}


if __name__ == "__main__":
    app()
