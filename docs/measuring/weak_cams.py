"""Class activation maps of classifiers that saw image-level labels alone, by Dice.

    python docs/measuring/weak_cams.py fold 0 --data DIR --out cams
    python docs/measuring/weak_cams.py show --out cams

`fold` parts the patients of a set of slices into five, trains classifiers on three
parts, chooses their weights (by image-level labels) and one threshold (by masks) on the
fourth, and draws the fifth. It goes on where it stopped: a classifier that is trained
is not trained again, nor a CAM drawn that is there. No mask of a training patient is
read.

Every CAM is thresholded in four ways. With image-level labels alone: by Otsu's rule in
each slice (otsu), at a fixed share of each slice (percentile), and at what all but 1 %
of the pixels of training slices without the structure stay below (absent), on maps
that have one scale for all slices. With masks of val: at one value for all slices
(masks). `show` pools the folds: the mean Dice over slices with the structure, on the
files' own grid, with intervals of resampled patients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from weak_folds import (
    FOLDS,
    at_size,
    images_of,
    masks_of_cases,
    parted,
    pooled,
    prepared,
    showing,
)

from diffseg.domain.slice_labels import ABSENT, PRESENT
from diffseg.metrics import dice
from diffseg.progress import run
from diffseg.segmenters.cams import raw_maps, unit_maps
from diffseg.segmenters.cams.choosing import (
    Chosen,
    chosen_on_absent,
    chosen_on_masks,
    masks_of,
)
from diffseg.segmenters.weak.thresholds import Threshold
from diffseg.volume import atomic_write_bytes
from diffseg_training.dataset import load_dataset
from diffseg_training.labelled import LabelledExample
from diffseg_training.recipe import Recipe, load_recipe
from diffseg_training.run import train_model
from diffseg_training.weak.stages import load_part

app = typer.Typer(add_completion=False, help=__doc__)
RULES = ("otsu", "percentile", "absent", "masks")
CAMS = {
    "lgg-classifier": ("grad_cam", "layer_cam", "layer_cam_stages", "score_cam_64"),
    "lgg-seam": ("seam_raw", "seam"),
    "lgg-ame-cam": ("ame_cam",),
    "lgg-local": ("local_map",),
}
"""Recipes, and what is drawn of each."""
FIXED_SHARE = 92.5
"""Per cent below the fixed share of a slice: a guess that no mask had a say in."""
SCALED_BY = 99.9
"""Percentile of the maps of training slices with the structure that becomes 1."""
Floats = NDArray[np.float32]
Out = Annotated[Path, typer.Option(help="Where runs and numbers are kept.")]


@app.command()
def fold(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    out: Out,
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    recipes: Annotated[str, typer.Option(help="With commas.")] = ",".join(CAMS),
    minutes: Annotated[float, typer.Option(help="Of training, each.")] = 10.0,
    set_: Annotated[list[str] | None, typer.Option("--set")] = None,
    patients: Annotated[int, typer.Option(help="At most.")] = 1000,
) -> None:
    """Train and draw one fold."""
    home = out / f"fold{number}"
    manifest = parted(data, home, number, patients)
    for name in recipes.split(","):
        overrides = [*(set_ or []), f"length.minutes={minutes}"]
        part = home / name / "part"
        if not part.is_dir():
            begun = (home / name / "log.jsonl").is_file()
            print(f"fold {number}: training {name}", flush=True)
            work = train_model(
                name, str(manifest), home / name, overrides, resume=begun
            )
            run(work)
        recipe = load_recipe(name, overrides)
        for source in CAMS[name]:
            path = home / f"{source}.json"
            if not path.is_file():
                print(f"fold {number}: drawing {source}", flush=True)
                found = _measured(source, load_part(part), recipe, manifest)
                atomic_write_bytes(path, json.dumps(found).encode())
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print the mean Dice over slices with the structure, of all folds there are."""
    print("| CAM | folds | slices | otsu | percentile | absent | masks of val |")
    print("|---|---|---|---|---|---|---|")
    for source in (one for group in CAMS.values() for one in group):
        paths = sorted(out.glob(f"fold*/{source}.json"))
        folds = [json.loads(path.read_text()) for path in paths]
        if folds:
            print(f"| {' | '.join([source, *pooled(folds, RULES)])} |")


def _measured(
    source: str, network: torch.nn.Module, recipe: Recipe, manifest: Path
) -> dict[str, Any]:
    """Thresholds, and the Dice of each test slice with the structure by each."""
    dataset = load_dataset(manifest)
    shown = {
        name: prepared(dataset.split(name), dataset, recipe)
        for name in ("train", "val", "test")
    }
    # The scale of all slices, and what those without the structure reach.
    scale = np.percentile(_raw(source, network, shown["train"], PRESENT), SCALED_BY)
    quiet = _raw(source, network, shown["train"], ABSENT)
    absent = chosen_on_absent(np.clip(quiet / max(float(scale), 1e-12), 0, 1))
    val = _raw(source, network, shown["val"], PRESENT)
    wanted = masks_of_cases(dataset.split("val"), shown["val"])
    masks = chosen_on_masks(at_size(unit_maps(val), wanted), wanted)
    rules = {
        "otsu": Threshold(kind="otsu"),
        "percentile": Threshold(kind="percentile", value=FIXED_SHARE),
        "absent": absent.threshold,
        "masks": masks.threshold,
    }
    raw = _raw(source, network, shown["test"], PRESENT)
    wanted = masks_of_cases(dataset.split("test"), shown["test"])
    unit = at_size(unit_maps(raw), wanted)
    scaled = at_size(np.clip(raw / max(float(scale), 1e-12), 0, 1), wanted)
    drawn = {
        name: masks_of(scaled if name == "absent" else unit, rule)
        for name, rule in rules.items()
    }
    rows = []
    for at, one in enumerate(showing(shown["test"], PRESENT)):
        row: dict[str, Any] = {"case": one.case, "group": one.group}
        for name, found in drawn.items():
            row[name] = dice(found[at].astype(np.uint8), wanted[at].astype(np.uint8))
        rows.append(row)
    chosen: tuple[Chosen, ...] = (absent, masks)
    return {"source": source, "chosen": [one.told() for one in chosen], "slices": rows}


def _raw(
    source: str,
    network: torch.nn.Module,
    examples: Sequence[LabelledExample],
    state: int,
) -> Floats:
    return raw_maps(source, network, images_of(showing(examples, state)))


if __name__ == "__main__":
    app()
