"""CLDF, the maps that it refines, its baselines and a supervised network, by Dice.

    python docs/measuring/weak_methods.py fold 0 --data DIR --out weak
    python docs/measuring/weak_methods.py show --out weak

`fold` parts the patients of a set of slices into five, trains CLDF's chain on three
parts and draws the fifth. It goes on where it stopped. Slices of a patient are proposed
as the stack that they are, its labels by slice; `cldf-alone` sees each by itself.
Two columns: by image-level labels alone (a proposal as it comes; maps by Otsu's rule in
each slice), and with what the masks of the fourth part (`val`) chose: one threshold of
the probability, or of the map, for all slices. `cam-stack` is the map that is refined,
averaged over a patient's slices as CLDF does; `cam-refined` the same, made finer by the
pixels of the image as CLDF does; `cldf-unrefined` is CLDF without that; `dig` the map
that is refined, spread over what the diffusion model's deepest features take for alike.
The supervised U-Net sees the masks of the same training patients at the same size, for
as long as is said. The last column is how much better CLDF is, paired by slice, with
its interval over patients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from weak_drawn import Masks, dice_of, probabilities
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
    seen_alike,
    showing,
    trained,
)
from weak_sources import RECIPE, Maps, sources

from diffseg.domain.slice_labels import PRESENT
from diffseg.metrics import paired_interval
from diffseg.segmenters.cams import unit_maps
from diffseg.segmenters.cams.choosing import chosen_on_masks, masks_of
from diffseg.segmenters.refining.pixels import refine_each
from diffseg.segmenters.weak.local import local_maps
from diffseg.segmenters.weak.thresholds import Threshold
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.evenly import evenly
from diffseg_training.labelled import LabelledExample
from diffseg_training.recipe import Recipe, load_recipe

app = typer.Typer(add_completion=False, help=__doc__)
RULES = ("labels", "masks")
MAPS = ("cam", "cam-stack", "cam-refined", "dig", "gradient", "perturbed", "anomaly")
SLOW = ("perturbed", "anomaly")
MODELS = ("cldf-alone", "cldf-unrefined", "cldf")
METHODS = (*MAPS, *MODELS, "student", "unet")
Out = Annotated[Path, typer.Option(help="Where runs and numbers are kept.")]


@app.command()
def fold(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    out: Out,
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    minutes: Annotated[float, typer.Option(help="Of the chain's networks.")] = 45.0,
    unet: Annotated[float, typer.Option(help="Minutes of the U-Net.")] = 10.0,
    members: Annotated[int, typer.Option(help="Of a proposal.")] = 1,
    recipe: Annotated[str, typer.Option(help="Of the chain: name or file.")] = RECIPE,
    most: Annotated[int, typer.Option(help="Slices of a slow map, evenly.")] = 1000,
    only: Annotated[
        list[str] | None, typer.Option(help="Methods to draw; repeatable. All.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Of the chain's recipe.")
    ] = None,
) -> None:
    """Train and draw one fold."""
    home, wanted = out / f"fold{number}", only or METHODS
    manifest = parted(data, home, number)
    dataset = load_dataset(manifest)
    changed = [f"length.minutes={minutes}", *(set_ or [])]
    trained(recipe, manifest, home / "cldf", changed, "chain.json")
    chain = load_recipe(recipe)
    for name, maps in sources(home / "cldf", chain):
        for kind in (name, f"{name}-stack", f"{name}-refined"):
            if kind in wanted:
                count = most if kind in SLOW else None
                work = partial(_of_maps, kind, maps, dataset, chain, count)
                once(home / f"{kind}.json", work)
    model = home / "cldf" / "model"
    for name in MODELS:
        if name in wanted:
            how = {"whole": name != "cldf-alone", "refined": name != "cldf-unrefined"}
            work = partial(of_model, model, dataset, members, **how)
            once(home / f"{name}.json", work)
    if "unet" in wanted:
        given = [*seen_alike(chain), f"length.minutes={unet}"]
        trained("lgg-unet", manifest, home / "unet", given, "log.jsonl")
        bound = home / "unet" / "model"
        once(home / "unet.json", partial(of_model, bound, dataset, 1, whole=False))
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print the mean Dice over slices with the structure, of all folds there are."""
    columns = (*("method", "folds", "slices"), "labels alone", "masks of val")
    print(f"| {' | '.join(columns)} | CLDF is better by |")
    print("|---|---|---|---|---|---|")
    found = {name: _told(out, name) for name in METHODS}
    for name, folds in found.items():
        if folds:
            less = "" if name == "cldf" else _difference(found["cldf"], folds)
            print(f"| {' | '.join([name, *pooled(folds, RULES), less])} |")
    if found["cldf"] and found["unet"]:
        likeness = _alike(found["cldf"], found["unet"])
        print(
            f"Patients' mean Dice by CLDF and by the U-Net: correlation {likeness:.2f}"
        )


def _told(out: Path, name: str) -> list[dict[str, Any]]:
    paths = sorted(out.glob(f"fold*/{name}.json"))
    return [json.loads(path.read_text()) for path in paths]


def _alike(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> float:
    """Correlation of the mean Dice of patients by two methods, labels alone."""
    a, b = (_by_patient(folds) for folds in (ours, theirs))
    both = sorted(a.keys() & b.keys())
    pairs = [[np.mean(one[group]) for group in both] for one in (a, b)]
    return float(np.corrcoef(pairs)[0, 1])


def _by_patient(folds: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in (row for one in folds for row in one["slices"]):
        found.setdefault(row["group"], []).append(row["labels"])
    return found


def _difference(
    ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]
) -> str:
    """Mean of CLDF's Dice minus another's, labels alone, and its interval."""
    a, b = ({row["case"]: row for one in each for row in one["slices"]}
            for each in (ours, theirs))  # fmt: skip
    both = [case for case in a if case in b]
    if not both:
        return ""
    pairs = [[row[case]["labels"] for case in both] for row in (a, b)]
    ends = paired_interval(*pairs, [a[case]["group"] for case in both])
    mean = float(np.mean(np.subtract(*pairs)))
    return f"{mean:+.3f}" + (f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else "")


def _of_maps(
    kind: str, maps: Maps, dataset: Dataset, recipe: Recipe, most: int | None = None
) -> dict[str, Any]:
    """Dice of each test slice by Otsu's rule, and by the threshold of val's masks."""
    found: dict[str, tuple[Floats, Masks]] = {}
    shown: Sequence[LabelledExample] = ()
    for split in ("val", "test"):
        cases = dataset.split(split)
        examples = prepared(cases, dataset, recipe)
        shown = showing(examples, PRESENT)
        wanted = masks_of_cases(cases, examples)
        if most is not None:
            places = evenly(range(len(shown)), most)
            shown, wanted = [shown[i] for i in places], wanted[places]
        images = images_of(shown)
        drawn = maps(images)
        if kind.endswith(("-stack", "-refined")):
            drawn = _over_stacks(drawn, shown, examples, recipe.network["local_slices"])
        drawn = unit_maps(drawn)
        if kind.endswith("-refined"):
            drawn = _refined(drawn, images, recipe)
        found[split] = at_size(drawn, wanted), wanted
    chosen = chosen_on_masks(*found["val"])
    drawn, wanted = found["test"]
    rules = {"labels": Threshold(kind="otsu"), "masks": chosen.threshold}
    masks = {rule: masks_of(drawn, one) for rule, one in rules.items()}
    rows = [
        {
            "case": one.case,
            "group": one.group,
            **{rule: dice_of(masks[rule][i], wanted[i]) for rule in rules},
        }
        for i, one in enumerate(shown)
    ]
    return {"method": kind, "chosen": chosen.told(), "slices": rows}


def _over_stacks(
    maps: Floats,
    shown: Sequence[LabelledExample],
    every: Sequence[LabelledExample],
    deviation: float,
) -> Floats:
    """Maps of slices that show something, averaged over those beside them."""
    place = {one.case: index for index, one in enumerate(shown)}
    found = maps.copy()
    for _, group in groupby(every, lambda one: one.group):
        stack = list(group)
        states = np.concatenate([one.labels.states for one in stack])
        at = [i for i, one in enumerate(stack) if one.case in place]

        def of(
            planes: Sequence[int], stack: Sequence[LabelledExample] = stack
        ) -> torch.Tensor:
            empty = np.zeros_like(maps[0])
            some = [place.get(stack[i].case) for i in planes]
            each = [empty if i is None else maps[i] for i in some]
            return torch.from_numpy(np.stack(each))[:, None]

        if at:
            mean = local_maps(of, states, at, deviation)[:, 0].numpy()
            found[[place[stack[i].case] for i in at]] = mean
    return found


def _refined(maps: Floats, images: torch.Tensor, recipe: Recipe) -> Floats:
    """Maps after pixels that look alike agreed, as CLDF's probabilities do."""
    network = recipe.network
    found = refine_each(
        torch.from_numpy(maps)[:, None],
        images,
        iterations=network["refinement_iterations"],
        dilations=network.get("refinement_dilations", (1, 2, 4, 8)),
    )
    return cast("Floats", found[:, 0].numpy())


def of_model(
    model: Path, dataset: Dataset, members: int, *, whole: bool, refined: bool = True
) -> dict[str, Any]:
    """Dice of each test slice with the structure by a model's proposals."""
    draw = partial(probabilities, model, dataset, whole=whole, refined=refined)
    held = list(draw("val", members))
    maps, truth = (np.stack([one[i] for one in held]) for i in (1, 3))
    chosen = chosen_on_masks(maps.astype(np.float32), truth)
    del held, maps
    rows = []
    for case, likely, mask, wanted in draw("test", members):
        cut = masks_of(likely[None].astype(np.float32), chosen.threshold)[0]
        row = {"case": case.case, "group": case.group}
        rows.append(
            {**row, "labels": dice_of(mask, wanted), "masks": dice_of(cut, wanted)}
        )
    return {"method": model.parent.name, "chosen": chosen.told(), "slices": rows}


if __name__ == "__main__":
    app()
