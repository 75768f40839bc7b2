"""CLDF, the maps that it refines, its baselines and a supervised network, by Dice.

    python docs/measuring/weak_methods.py fold 0 --data DIR --out weak
    python docs/measuring/weak_methods.py show --out weak

`fold` parts the patients of a set of slices into five, trains CLDF's chain on three
parts, tries settings of its selection on the masks of the fourth (`val`), and draws the
fifth. It goes on where it stopped. Two columns: by image-level labels alone (the
recipe as it comes; maps by Otsu's rule in each slice), and with what masks of val chose
(CLDF: the settings tried here and a threshold of its probability; maps: one threshold
for all slices). The supervised U-Net sees the masks of the same training patients at
the same size, for as long as is said.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from weak_folds import (
    FOLDS,
    Floats,
    at_size,
    images_of,
    masks_of_cases,
    once,
    parted,
    pooled,
    prepared,
    showing,
    trained,
)
from weak_sources import RECIPE, Maps, sources

from diffseg.domain import ImageLabels, Request
from diffseg.domain.slice_labels import PRESENT
from diffseg.metrics import dice
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.cams import unit_maps
from diffseg.segmenters.cams.choosing import chosen_on_masks, masks_of
from diffseg.segmenters.weak.thresholds import Threshold
from diffseg.volume import read_mask
from diffseg_training.dataset import Case, Dataset, load_dataset, read_image
from diffseg_training.labelled import LabelledExample
from diffseg_training.recipe import load_recipe

app = typer.Typer(add_completion=False, help=__doc__)
TRAINED = ("diffusion", "classifier", "cam")
RULES = ("labels", "masks")
SELECTIONS = {
    "as it comes": (),
    **{
        f"cam above {cam}, gradient above {steep} per cent of the pixels": (
            f"objective.selection.cam={{kind: percentile, value: {cam}}}",
            f"objective.selection.gradient={{kind: percentile, value: {steep}}}",
        )
        for cam in (92.5, 96.0)
        for steep in (80.0, 90.0)
    },
    "cam above 95 per cent, no gradient map": (
        "objective.selection.fusion=cam",
        "objective.selection.cam={kind: percentile, value: 95}",
    ),
}
"""Settings of the selection that are tried on val."""
Out = Annotated[Path, typer.Option(help="Where runs and numbers are kept.")]


@app.command()
def fold(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    out: Out,
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    minutes: Annotated[float, typer.Option(help="Of the chain's networks.")] = 45.0,
    unet: Annotated[float, typer.Option(help="Minutes of the U-Net.")] = 10.0,
    members: Annotated[int, typer.Option(help="Of a proposal.")] = 1,
) -> None:
    """Train and draw one fold."""
    home = out / f"fold{number}"
    manifest = parted(data, home, number)
    dataset = load_dataset(manifest)
    length = [f"length.minutes={minutes}"]
    trained(RECIPE, manifest, home / "cldf", length, "chain.json")
    for name, maps in sources(home / "cldf"):
        once(home / f"{name}.json", partial(_of_maps, name, maps, dataset))
    _tried(home, manifest, dataset, length, members)
    same = ["preparation.size=[128,128]", "patch=[128,128]", f"length.minutes={unet}"]
    trained("lgg-unet", manifest, home / "unet", same, "log.jsonl")
    once(home / "unet.json", partial(_of_model, home / "unet" / "model", dataset, 1))
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print the mean Dice over slices with the structure, of all folds there are."""
    print("| method | folds | slices | labels alone | masks of val |")
    print("|---|---|---|---|---|")
    names = ("cam", "gradient", "perturbed", "anomaly", "cldf", "unet")
    for name in names:
        paths = sorted(out.glob(f"fold*/{name}.json"))
        folds = [json.loads(path.read_text()) for path in paths]
        if folds:
            print(f"| {' | '.join([name, *pooled(folds, RULES)])} |")
            for one in folds:
                print(f"|  {one['chosen']} ||||")


def _of_maps(name: str, maps: Maps, dataset: Dataset) -> dict[str, Any]:
    """Dice of each test slice by Otsu's rule, and by the threshold of val's masks."""
    recipe = load_recipe(RECIPE)
    found: dict[str, tuple[Floats, NDArray[np.bool_]]] = {}
    shown: Sequence[LabelledExample] = ()
    for split in ("val", "test"):
        cases = dataset.split(split)
        examples = prepared(cases, dataset, recipe)
        shown = showing(examples, PRESENT)
        wanted = masks_of_cases(cases, examples)
        found[split] = at_size(unit_maps(maps(images_of(shown))), wanted), wanted
    chosen = chosen_on_masks(*found["val"])
    drawn, wanted = found["test"]
    rules = {"labels": Threshold(kind="otsu"), "masks": chosen.threshold}
    masks = {rule: masks_of(drawn, one) for rule, one in rules.items()}
    rows = [
        {
            "case": one.case,
            "group": one.group,
            **{rule: _dice(masks[rule][i], wanted[i]) for rule in rules},
        }
        for i, one in enumerate(shown)
    ]
    return {"method": name, "chosen": chosen.told(), "slices": rows}


def _tried(
    home: Path,
    manifest: Path,
    dataset: Dataset,
    length: Sequence[str],
    members: int,
) -> None:
    """Try the settings of the selection on val, and draw the test slices twice."""
    tried: dict[str, dict[str, Any]] = {}
    for index, (name, overrides) in enumerate(SELECTIONS.items()):
        folder = home / "cldf" if not index else home / f"cldf-{index}"
        for stage in TRAINED if index else ():
            if not (folder / stage).is_dir():
                shutil.copytree(home / "cldf" / stage, folder / stage)
        if index:
            shutil.copy(home / "cldf" / "chain.json", folder / "chain.json")
        trained(RECIPE, manifest, folder, [*length, *overrides], "chain.json")
        look = partial(_probabilities, folder / "model", dataset, "val", members)
        tried[name] = once(home / f"tried-{index}.json", partial(_scored, look))
        tried[name]["model"] = str(folder / "model")
        print(f"{name}: {tried[name]['masks']:.3f} ({tried[name]['labels']:.3f})")
    best = max(tried, key=lambda name: float(tried[name]["masks"]))
    threshold = Threshold(kind="fixed", value=tried[best]["threshold"])

    def drawn() -> dict[str, Any]:
        plain = _of_model(home / "cldf" / "model", dataset, members)
        other = _of_model(Path(tried[best]["model"]), dataset, members, threshold)
        rows = [
            {**one, "masks": two["masks"]}
            for one, two in zip(plain["slices"], other["slices"], strict=True)
        ]
        chosen = f"{best}; probability above {threshold.value:g}"
        return {"method": "cldf", "chosen": chosen, "tried": tried, "slices": rows}

    once(home / "cldf.json", drawn)


def _scored(
    look: Callable[[], Iterator[tuple[Case, Floats, NDArray[Any], NDArray[np.bool_]]]],
) -> dict[str, Any]:
    """Mean Dice on val: of the masks as they are, and at the best probability."""
    found = list(look())
    plain = [_dice(mask, wanted) for _, _, mask, wanted in found]
    maps = np.stack([likely for _, likely, _, _ in found])
    chosen = chosen_on_masks(maps, np.stack([wanted for *_, wanted in found]))
    return {
        "labels": float(np.mean(plain)),
        "masks": chosen.dice,
        "threshold": chosen.threshold.value,
        "slices": len(found),
    }


def _of_model(
    model: Path, dataset: Dataset, members: int, threshold: Threshold | None = None
) -> dict[str, Any]:
    """Dice of each test slice with the structure by a model's proposals."""
    rows = []
    for case, likely, mask, wanted in _probabilities(model, dataset, "test", members):
        cut = mask if threshold is None else masks_of(likely[None], threshold)[0]
        row = {"case": case.case, "group": case.group}
        rows.append({**row, "labels": _dice(mask, wanted), "masks": _dice(cut, wanted)})
    return {"method": model.parent.name, "chosen": "", "slices": rows}


def _probabilities(
    model: Path, dataset: Dataset, split: str, members: int
) -> Iterator[tuple[Case, Floats, NDArray[Any], NDArray[np.bool_]]]:
    """Yield slices with the structure: what a model says of them, and the reference."""
    segmenter = load_segmenter(str(model), device="cpu")
    names = segmenter.card.labels.names
    labels = ImageLabels.parse(",".join(names))
    for case in dataset.split(split):
        if case.mask is None or not case.labels:
            continue
        truth = np.asarray(read_mask(case.mask)[0] > 0)
        if not truth.any():
            continue
        request = Request(read_image(case), labels=labels, members=members, steps=6)
        made = segmenter.propose(request)
        yield case, made.probability[0, 0], made.mask[0] > 0, truth


def _dice(found: NDArray[Any], wanted: NDArray[Any]) -> float | None:
    return dice(found.astype(np.uint8), wanted.astype(np.uint8))


if __name__ == "__main__":
    app()
