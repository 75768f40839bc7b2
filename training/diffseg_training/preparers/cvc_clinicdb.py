"""CVC-ClinicDB: frames of colonoscopies with a polyp's mask, split as LEAF does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import grey, png

TRAIN, VAL, ALL = 490, 552, 612

ABOUT = About(
    title="CVC-ClinicDB",
    home="https://polyp.grand-challenge.org/CVCClinicDB",
    layout="Original/1.tif ... 612.tif and Ground Truth/1.tif ... 612.tif (or .png)",
    classes={1: "polyp"},
    counts={"train": 490, "val": 62, "test": 60},
    split="LEAF's numbers, 490, 62 and 60, in the order of the frames, as its own "
    "order is not known; frames of one video stand in several splits, as in the papers",
)
_FILE = r"/(?P<key>\d+)\.(?:tiff?|png)"


def find(folder: Path) -> Found:
    """Look for frames and masks."""
    images = files(folder, rf"Original{_FILE}")
    masks = files(folder, rf"Ground[ _]?Truth{_FILE}")
    both, missing = paired(images, masks, lambda key: f"Ground Truth/{key}.tif")
    if not images:
        missing.append("no numbered frames in a folder called Original")
    items = []
    for place, key in enumerate(both):
        share = place * ALL / len(both)
        split = "train" if share < TRAIN else "val" if share < VAL else "test"
        case = f"frame_{int(key):03d}"
        items.append(Item(case, case, split, (images[key],), _mask(case, masks[key])))
    remarks = (
        "every frame counts as a group: neighbours of one video flatter the scores",
    )
    return Found(tuple(items), tuple(missing), remarks)


def _mask(case: str, source: Path) -> Made:
    def make() -> Values:
        return (grey(source) > 127).astype(np.uint8)

    return png(f"masks/{case}", make)
