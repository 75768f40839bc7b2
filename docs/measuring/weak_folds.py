"""Patients of a set of slices in five folds, and what is told of masks of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from diffseg.domain.slice_labels import PRESENT
from diffseg.metrics import bootstrap_interval
from diffseg.progress import run
from diffseg.volume import atomic_write_bytes, read_mask
from diffseg_training.dataset import Case, Dataset
from diffseg_training.labelled import LabelledExample, prepare_labelled
from diffseg_training.recipe import Recipe
from diffseg_training.run import train_model

FOLDS = 5
SEEN = ("intensity", "size", "tile")
Floats = NDArray[np.float32]


def parted(data: Path, home: Path, number: int, patients: int = 1000) -> Path:
    """A manifest of the fold, its images where they are; patients by chance, once."""
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups = sorted({row["group"] for row in rows})
    order = np.random.default_rng(0).permutation(len(groups))[:patients]
    place = {groups[index]: at % FOLDS for at, index in enumerate(order)}
    split = {number: "test", (number + 1) % FOLDS: "val"}
    return written(
        data, home, {group: split.get(at, "train") for group, at in place.items()}
    )


def by_its_own(data: Path, home: Path) -> Path:
    """A manifest of the set's own splits; without test, half of val's patients are.

    For what stands upon models that learnt from the set's train: it has seen no image
    of val or test.
    """
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    splits = {row["group"]: row["split"] for row in rows if row["split"]}
    held = sorted(group for group, split in splits.items() if split == "val")
    if "test" not in splits.values():
        order = np.random.default_rng(0).permutation(len(held))
        splits |= {held[int(at)]: "test" for at in order[::2]}
    return written(data, home, splits)


def written(data: Path, home: Path, splits: Mapping[str, str]) -> Path:
    """A manifest of the patients that have a split, their images where they are."""
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for row in rows:
        if row["group"] in splits:
            files = {
                key: str((data / row[key]).resolve()) if row[key] else ""
                for key in ("image", "mask")
            }
            lines.append({**row, **files, "split": splits[row["group"]]})
    home.mkdir(parents=True, exist_ok=True)
    names = sorted({name for row in rows for name in row["labels"].split(";") if name})
    # With the class told, no mask is read to find out how many there are.
    (home / "classes.json").write_text(json.dumps({"1": names[0]}))
    path = home / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return path


def prepared(
    cases: Sequence[Case], dataset: Dataset, recipe: Recipe
) -> list[LabelledExample]:
    """Slices as a recipe's network sees them, with their labels."""
    work = prepare_labelled(cases, dataset, recipe.preparation, recipe.labels)
    return run(work)


def showing(examples: Sequence[LabelledExample], state: int) -> list[LabelledExample]:
    """Slices, each a case of its own, of which this is known."""
    return [one for one in examples if int(one.states[0, 0]) == state]


def images_of(examples: Sequence[LabelledExample]) -> torch.Tensor:
    """Images (N, C, Y, X)."""
    return torch.stack([one.image[:, 0] for one in examples])


def masks_of_cases(
    cases: Sequence[Case], examples: Sequence[LabelledExample]
) -> NDArray[np.bool_]:
    """References (N, Y, X) of slices that are said to have the structure."""
    having = {one.case for one in showing(examples, PRESENT)}
    files = [case.mask for case in cases if case.case in having]
    return np.stack([read_mask(path)[0] > 0 for path in files if path is not None])


def at_size(maps: Floats, masks: NDArray[np.bool_]) -> Floats:
    """Maps on the grid of the files."""
    full = functional.interpolate(
        torch.from_numpy(maps.astype(np.float32))[:, None],
        masks.shape[1:],
        mode="bilinear",
        align_corners=False,
    )
    found: Floats = full[:, 0].numpy()
    return found


def once(path: Path, found: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds; made and written where there is none."""
    if not path.is_file():
        print(f"drawing {path.parent.name}, {path.stem}", flush=True)
        atomic_write_bytes(path, json.dumps(found()).encode())
    return dict(json.loads(path.read_text()))


def trained(
    recipe: str, manifest: Path, out: Path, overrides: Sequence[str], begun: str
) -> None:
    """Train, or go on where the folder holds `begun`; nothing to do with a model."""
    if not (out / "model" / "card.json").is_file():
        resume = (out / begun).exists() or (out / "log.jsonl").is_file()
        print(f"training {recipe} in {out}", flush=True)
        run(train_model(recipe, str(manifest), out, overrides, resume=resume))


def seen_alike(recipe: Recipe) -> tuple[str, ...]:
    """Overrides by which another recipe's network sees slices as this one's does."""
    preparation = recipe.preparation.model_dump(mode="json")
    same = [f"preparation.{key}={json.dumps(preparation[key])}" for key in SEEN]
    return *same, f"patch={json.dumps(preparation['size'])}"


def mean_cell(values: Sequence[float], groups: Sequence[str]) -> str:
    """Mean over slices, and its 95 % interval over patients."""
    ends = bootstrap_interval(values, groups)
    told = f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else ""
    return f"{np.mean(values):.3f}{told}"


def pooled(folds: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> Iterator[str]:
    """Cells of a table: folds, slices, and the mean Dice by each rule."""
    rows = [row for one in folds for row in one["slices"]]
    groups = [row["group"] for row in rows]
    yield f"{len(folds)}"
    yield f"{len(rows)}"
    for rule in rules:
        values = [row[rule] for row in rows if rule in row]
        if len(values) < len(rows):
            yield ""
            continue
        yield mean_cell(values, groups)
