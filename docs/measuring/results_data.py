"""The data of docs/results.md: sets as they are, in part, by patient, or smaller."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

FOLDS = 5
THINNED = {"nuclei": 2, "lgg": 3, "hippocampus": 6}
"""Of val's cases, every so manieth is measured; all of train is learnt from."""
NNUNET_LEARNS = {"lgg": 10}
"""Of train's cases of a set made smaller: 5 % of the whole set would be its batch."""
_FILES = ("image", "mask", "mask_2")
Rows = list[dict[str, str]]


def data_folder(data: str, runs: Path) -> Path:
    """Where a cell's data lie: in ``DIFFSEG_DATA``, or listed anew among the runs.

    ``chasedb1-2`` is fold 2 of chasedb1, by patient; ``ph2@64`` has pictures of 64 by
    64 pixels; of `THINNED` sets, val is thinned.
    """
    name, _, pixels = data.partition("@")
    name, _, fold = name.partition("-")
    source = Path(os.environ["DIFFSEG_DATA"]).resolve() / name
    folder = runs / "data" / data
    if (folder / "manifest.csv").exists():
        return folder
    if not fold and not pixels and name not in THINNED:
        return source
    with (source / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if fold:
        rows = folded(rows, int(fold))
    elif name in THINNED:
        learnt = NNUNET_LEARNS.get(name, 1) if pixels else 1
        rows = thinned(rows, THINNED[name], learnt)
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        for column in _FILES:
            if not row.get(column):
                continue
            path = source / row[column]
            if pixels:
                path = resized(
                    path, folder / f"{column}s" / f"{row['case']}.png", int(pixels)
                )
            row[column] = str(path)
    classes = source / "classes.json"
    if classes.exists():
        (folder / "classes.json").write_bytes(classes.read_bytes())
    _listed(rows, folder)
    return folder


def thinned(rows: Rows, nth: int, learnt: int = 1) -> Rows:
    """Every n-th case of val, and all of train or every so manieth of it."""
    val = [row for row in rows if row["split"] == "val"][::nth]
    return [row for row in rows if row["split"] == "train"][::learnt] + val


def folded(rows: Rows, fold: int) -> Rows:
    """Every `FOLDS`-th patient is val, the others train."""
    patients = sorted({row["group"] for row in rows})
    held = set(patients[fold::FOLDS])
    return [row | {"split": "val" if row["group"] in held else "train"} for row in rows]


def resized(picture: Path, out: Path, pixels: int) -> Path:
    """Write a picture of so many pixels a side; of a mask, each as the nearest."""
    out.parent.mkdir(parents=True, exist_ok=True)
    mask = out.parent.name.startswith("mask")
    way = Image.Resampling.NEAREST if mask else Image.Resampling.LANCZOS
    with Image.open(picture) as image:
        image.resize((pixels, pixels), way).save(out)
    return out


def _listed(rows: Sequence[dict[str, str]], folder: Path) -> None:
    """Write the manifest aside and then rename: two cells may ask for it at once."""
    aside = folder / f"manifest.{os.getpid()}.{id(rows)}"
    with aside.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    aside.replace(folder / "manifest.csv")
