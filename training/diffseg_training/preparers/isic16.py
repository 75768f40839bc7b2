"""ISIC 2016 (part 3B, or part 1): dermoscopic images with a lesion's mask."""

from __future__ import annotations

from pathlib import Path

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item
from diffseg_training.preparers.splitting import with_val

ABOUT = About(
    title="ISIC 2016",
    home="https://challenge.isic-archive.com/data/#2016",
    layout="folders with Training and Test in their names, that hold ISIC_*.jpg and "
    "ISIC_*_Segmentation.png (beside them in part 3B, in GroundTruth in part 1)",
    classes={1: "lesion"},
    counts={"train": 900, "test": 379},
    split="train and test as published; a fifth of train is val, as the analysis "
    "paper's 80/20, which images is ours",
)


def find(folder: Path) -> Found:
    """Look for images and masks of both published folders."""
    items: list[Item] = []
    missing: list[str] = []
    for word, split in (("training", "train"), ("test", "test")):
        images = files(folder, rf".*{word}.*/(?P<key>ISIC_\d+)\.jpg")
        masks = files(folder, rf".*{word}.*/(?P<key>ISIC_\d+)_Segmentation\.png")
        if not images:
            missing.append(f"no ISIC_*.jpg in a folder with {word!r} in its name")
        both, lacking = paired(images, masks, lambda key: f"{key}_Segmentation.png")
        missing += lacking
        items += [Item(k, k, split, (images[k],), masks[k]) for k in both]
    return Found(tuple(with_val(items, 0.2)), tuple(missing))
