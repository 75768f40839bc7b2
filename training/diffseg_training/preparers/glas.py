"""GlaS (Warwick QU): glands in H&E, some images nearly full; in the place of HER2."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import grey, png
from diffseg_training.preparers.splitting import kept_apart, with_val

ABOUT = About(
    title="GlaS (Warwick QU)",
    home="https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest",
    layout="train_*.bmp, testA_*.bmp and testB_*.bmp, each with its *_anno.bmp, and "
    "Grade.csv, which names the patients",
    classes={1: "gland"},
    counts={"train": 85, "test": 80},
    split="train and test as published, which share patients; a fifth of train's "
    "patients is val, which is ours",
)


def find(folder: Path) -> Found:
    """Look for images, annotations and the table of patients."""
    images = files(folder, r"(?P<key>(?:train|testA|testB)_\d+)\.bmp")
    masks = files(folder, r"(?P<key>(?:train|testA|testB)_\d+)_anno\.bmp")
    both, missing = paired(images, masks, lambda key: f"{key}_anno.bmp")
    if not images:
        missing.append("no train_*.bmp, testA_*.bmp or testB_*.bmp")
    table = files(folder, r"(?P<key>Grade)\.csv")
    remarks = []
    if not table:
        remarks.append("without Grade.csv every image counts as a patient of its own")
    patients = _patients(table["Grade"]) if table else {}
    items, shared = kept_apart(
        [
            Item(
                key,
                patients.get(key, key),
                "train" if key.startswith("train") else "test",
                (images[key],),
                _mask(key, masks[key]),
            )
            for key in both
        ]
    )
    items = with_val(items, 0.2)
    return Found(tuple(items), tuple(missing), (*remarks, *shared))


def _patients(path: Path) -> dict[str, str]:
    """Patients by image name, of the columns ``name`` and ``patient ID``."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [
            {(k or "").strip().lower(): (v or "").strip() for k, v in row.items()}
            for row in csv.DictReader(file)
        ]
    return {
        row["name"]: f"patient-{row['patient id']}"
        for row in rows
        if row.get("name") and row.get("patient id")
    }


def _mask(key: str, annotation: Path) -> Made:
    def make() -> Values:
        return (grey(annotation) > 0).astype(np.uint8)  # glands are numbered there

    return png(f"masks/{key}", make)
