"""What the parts of CLDF's decoder are worth: one setting at a time, by Dice on val.

    python docs/measuring/weak_ablation.py 0 --data DIR --out weak

Takes the trained networks of a fold's chain (`weak_methods.py fold`), and goes through
pixels and decoder anew with one setting changed: whose features, which maps choose the
pixels, layers and width of the decoder, K-means. Rows of a residual network train it.
The decoder answers by itself (`network.local` away), and each slice is drawn alone, its
label given. Slices of val are drawn, as the recipe's settings are chosen on it; masks
come by labels alone, and in the last column by the best threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from diffseg_training.weak.plan import TRAINED

BASE = (
    "network.local=null",
    "network.refinement_iterations=0",
    "objective.selection.slices=200",
)
RECIPE_ROW, LAYER_ROW = "as the recipe", "after LayerCAM of a ResNet-"
RESNET = "norm: instance, output_stride: 16, backbone: resnet"
LAYERS = "objective.cam.source=layer_cam_stages"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting.

    Parameters
    ----------
    changed : tuple of str
        Overrides of the recipe.
    shares : mapping of str to str
        Stages that it has in common with another row; networks come from the fold's
        chain where nothing else is said.
    trains : tuple of str
        Networks of its own.
    """

    changed: tuple[str, ...] = ()
    shares: Mapping[str, str] = field(default_factory=dict)
    trains: tuple[str, ...] = ()


def _decoding(*changed: str) -> Row:
    return Row(changed, {"pixels": RECIPE_ROW})


def _classifier(depth: int) -> str:
    return f"objective.cam.network={{name: slice_classifier, {RESNET}{depth}}}"


def _trained(depth: int) -> Row:
    return Row((_classifier(depth), LAYERS), trains=("cam",))


def _resnet(depth: int, *changed: str) -> Row:
    return Row((_classifier(depth), *changed), {"cam": f"{LAYER_ROW}{depth}"})


def _encoded(depth: int) -> Row:
    encoder = f"network.encoder={{{RESNET}{depth}}}"
    whose = ("network.features=encoder", "network.blocks=[0,1,2,3]")
    return _resnet(depth, LAYERS, encoder, *whose)


ROWS: Mapping[str, Row] = {
    RECIPE_ROW: Row(),
    "1 layer": _decoding("network.layers=1"),
    "2 layers": _decoding("network.layers=2"),
    "6 layers": _decoding("network.layers=6"),
    "width 8": _decoding("network.width=8"),
    "width 32": _decoding("network.width=32"),
    "K-means": _decoding("network.iterations=25"),
    "one block": Row(("network.blocks=[6]",)),
    "one noise level": Row(("network.timesteps=[150]",)),
    "features of the noisy classifier": Row(
        ("network.features=classifier", "network.blocks=[1,3,5,7]")
    ),
    "pixels by gradient map": Row(("objective.selection.fusion=gradient",)),
    "pixels by both maps": Row(("objective.selection.fusion=both",)),
    f"{LAYER_ROW}18": _trained(18),
    "after GradCAM of it": _resnet(18, "objective.cam.source=grad_cam"),
    "after ScoreCAM of it": _resnet(18, "objective.cam.source=score_cam"),
    "features of it": _encoded(18),
    f"{LAYER_ROW}50": _trained(50),
    "features of that": _encoded(50),
}


def main(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    out: Annotated[Path, typer.Option(help="Of weak_methods.py.")],
    most: Annotated[int, typer.Option(help="Most slices to draw, evenly.")] = 60,
    only: Annotated[
        list[str] | None, typer.Option(help="Settings; repeatable. All.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Of the chain's recipe.")
    ] = None,
) -> None:
    """Train and draw with each setting; print the table."""
    home = out / f"fold{number}"
    manifest = home / "manifest.csv"
    dataset = _fewer(load_dataset(manifest), most)
    print("| setting | labels alone | best threshold |\n|---|---|---|")
    for name, row in ROWS.items():
        if only and name not in only:
            continue
        place = _place(home, name)
        work = partial(_drawn, home, place, row, tuple(set_ or ()), dataset)
        found = once(place.with_suffix(".json"), work)
        slices = found["slices"]
        values = [one["labels"] for one in slices]
        cell = mean_cell(values, [one["group"] for one in slices])
        print(f"| {name} | {cell} | {found['chosen']['dice']:.3f} |", flush=True)


def _fewer(dataset: Dataset, most: int) -> Dataset:
    """Some slices of val, evenly, that show the structure."""
    (name,) = dataset.labels.names
    shown = [
        case for case in dataset.split("val") if case.labels[name] is Presence.PRESENT
    ]
    return replace(dataset, cases=tuple(evenly(shown, most)))


def _place(home: Path, name: str) -> Path:
    return home / "ablation" / name.replace(" ", "-")


def _drawn(
    home: Path, place: Path, row: Row, set_: tuple[str, ...], dataset: Dataset
) -> dict[str, Any]:
    place.mkdir(parents=True, exist_ok=True)
    taken = {stage: home / "cldf" for stage in TRAINED if stage not in row.trains}
    taken |= {stage: _place(home, name) for stage, name in row.shares.items()}
    for stage, source in taken.items():
        if not (place / stage).exists():
            (place / stage).symlink_to((source / stage).resolve())
    (place / "chain.json").touch()
    given = [*BASE, *set_, *row.changed]
    trained(RECIPE, home / "manifest.csv", place, given, "chain.json")
    drawn = list(probabilities(place / "model", dataset, "val", 1, False))
    maps, truth = (np.stack([one[i] for one in drawn]) for i in (1, 3))
    rows = [
        {"case": case.case, "group": case.group, "labels": dice_of(mask, wanted)}
        for case, _, mask, wanted in drawn
    ]
    best = chosen_on_masks(maps.astype(np.float32), truth)
    return {"slices": rows, "chosen": {"dice": best.dice}}


if __name__ == "__main__":
    typer.run(main)
