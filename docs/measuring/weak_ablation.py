"""What the parts of CLDF's decoder are worth: one setting at a time, by Dice on val.

    python docs/measuring/weak_ablation.py 0 --data DIR --out weak

Takes the trained networks of a fold's chain (`weak_methods.py fold`), and goes through
pixels and decoder anew with one setting changed: whose features, which maps choose the
pixels, layers and width of the decoder, K-means. The decoder answers by itself
(`network.local` away), and each slice is drawn alone, its label given. Slices of val
are drawn, as the recipe's settings are chosen on it; masks come by labels alone, and in
the last column by the best threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from weak_drawn import dice_of, probabilities
from weak_folds import FOLDS, mean_cell, once, trained
from weak_sources import RECIPE

from diffseg.domain import Presence
from diffseg.segmenters.cams.choosing import chosen_on_masks
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.evenly import evenly

BASE = (
    "network.local=null",
    "network.refinement_iterations=0",
    "objective.selection.slices=200",
)
CHANGED: Mapping[str, tuple[str, ...]] = {
    "as the recipe": (),
    "1 layer": ("network.layers=1",),
    "2 layers": ("network.layers=2",),
    "6 layers": ("network.layers=6",),
    "width 8": ("network.width=8",),
    "width 32": ("network.width=32",),
    "K-means": ("network.iterations=25",),
    "one block": ("network.blocks=[6]",),
    "one noise level": ("network.timesteps=[150]",),
    "features of the noisy classifier": (
        "network.features=classifier",
        "network.blocks=[1,3,5,7]",
    ),
    "pixels by gradient map": ("objective.selection.fusion=gradient",),
    "pixels by both maps": ("objective.selection.fusion=both",),
}
SAME_PIXELS = ("layers", "width", "iterations")
TRAINED = ("diffusion", "classifier", "cam")


def main(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    out: Annotated[Path, typer.Option(help="Of weak_methods.py.")],
    most: Annotated[int, typer.Option(help="Most slices to draw, evenly.")] = 60,
    only: Annotated[
        list[str] | None, typer.Option(help="Settings; repeatable. All.")
    ] = None,
) -> None:
    """Train and draw with each setting; print the table."""
    home = out / f"fold{number}"
    manifest = home / "manifest.csv"
    dataset = _fewer(load_dataset(manifest), most)
    print("| setting | labels alone | best threshold |\n|---|---|---|")
    for name, changed in CHANGED.items():
        if only and name not in only:
            continue
        place = home / "ablation" / name.replace(" ", "-")
        work = partial(_drawn, home, place, manifest, changed, dataset)
        found = once(place.with_suffix(".json"), work)
        groups = [row["group"] for row in found["slices"]]
        cell = mean_cell([row["labels"] for row in found["slices"]], groups)
        print(f"| {name} | {cell} | {found['chosen']['dice']:.3f} |", flush=True)


def _fewer(dataset: Dataset, most: int) -> Dataset:
    """Some slices of val, evenly, that show the structure."""
    (name,) = dataset.labels.names
    shown = [
        case for case in dataset.split("val") if case.labels[name] is Presence.PRESENT
    ]
    return replace(dataset, cases=tuple(evenly(shown, most)))


def _drawn(
    home: Path,
    place: Path,
    manifest: Path,
    changed: tuple[str, ...],
    dataset: Dataset,
) -> dict[str, Any]:
    place.mkdir(parents=True, exist_ok=True)
    stages = [*TRAINED]
    base = home / "ablation" / "as-the-recipe"
    if place != base and all(_last(one) in SAME_PIXELS for one in changed):
        stages.append("pixels")
    for stage in stages:
        source = base if stage == "pixels" else home / "cldf"
        if not (place / stage).exists():
            (place / stage).symlink_to((source / stage).resolve())
    (place / "chain.json").touch()
    trained(RECIPE, manifest, place, [*BASE, *changed], "chain.json")
    drawn = list(probabilities(place / "model", dataset, "val", 1, False))
    maps, truth = (np.stack([one[i] for one in drawn]) for i in (1, 3))
    rows = [
        {"case": case.case, "group": case.group, "labels": dice_of(mask, wanted)}
        for case, _, mask, wanted in drawn
    ]
    best = chosen_on_masks(maps.astype(np.float32), truth)
    return {"slices": rows, "chosen": {"dice": best.dice}}


def _last(setting: str) -> str:
    return setting.partition("=")[0].rpartition(".")[2]


if __name__ == "__main__":
    typer.run(main)
