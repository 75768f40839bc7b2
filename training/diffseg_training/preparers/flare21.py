"""FLARE 2021: abdominal CT with four organs."""

from __future__ import annotations

from pathlib import Path

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item
from diffseg_training.preparers.splitting import by_counts

SPLITS = (("train", 211), ("val", 50), ("test", 100))

ABOUT = About(
    title="FLARE 2021",
    home="https://flare.grand-challenge.org",
    layout="TrainingImg/train_*_0000.nii.gz and TrainingMask/train_*.nii.gz",
    classes={1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"},
    counts=dict(SPLITS),
    split="211, 50 and 100 patients of the training set as CLDF; which ones is ours",
)


def find(folder: Path) -> Found:
    """Look for the training set's images and masks."""
    images = files(folder, r"(?P<key>train_\d+)_0000\.nii\.gz")
    masks = files(folder, r"(?P<key>train_\d+)\.nii\.gz")
    both, missing = paired(images, masks, lambda key: f"{key}.nii.gz")
    if not images:
        missing.append("no train_*_0000.nii.gz")
    items = [Item(key, key, "train", (images[key],), masks[key]) for key in both]
    return Found(tuple(by_counts(items, SPLITS)), tuple(missing))
