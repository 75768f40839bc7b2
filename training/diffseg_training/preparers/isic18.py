"""ISIC 2018, task 1, split as LEAF does: its training folder alone."""

from __future__ import annotations

from pathlib import Path

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item
from diffseg_training.preparers.splitting import with_val

TRAIN, ALL = 1815, 2594

ABOUT = About(
    title="ISIC 2018, task 1",
    home="https://challenge.isic-archive.com/data/#2018",
    layout="ISIC2018_Task1-2_Training_Input/ISIC_*.jpg and "
    "ISIC2018_Task1_Training_GroundTruth/ISIC_*_segmentation.png",
    classes={1: "lesion"},
    counts={"train": 1633, "val": 182, "test": 779},
    split="LEAF's numbers, 1815 of the training folder to train, 779 to test, in the "
    "order of their names, as its own order is not known; a tenth of train is val",
)


def find(folder: Path) -> Found:
    """Look for the training folder's images and masks."""
    images = files(folder, r".*training_input/(?P<key>ISIC_\d+)\.jpg")
    masks = files(folder, r".*training_groundtruth/(?P<key>ISIC_\d+)_segmentation\.png")
    both, missing = paired(images, masks, lambda key: f"{key}_segmentation.png")
    if not images:
        missing.append("no ISIC_*.jpg in a folder called *Training_Input")
    last = round(len(both) * TRAIN / ALL)
    items = [
        Item(k, k, "train" if place < last else "test", (images[k],), masks[k])
        for place, k in enumerate(both)
    ]
    return Found(tuple(with_val(items, 0.1)), tuple(missing))
