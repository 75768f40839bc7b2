"""QaTa-COV19 v2: chest X-rays with the infected lung's mask."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import grey, png
from diffseg_training.preparers.splitting import kept_apart, with_val

ABOUT = About(
    title="QaTa-COV19 v2",
    home="https://www.kaggle.com/datasets/aysendegerli/qatacov19-dataset",
    layout="Train Set and Test Set, each with Images/*.png, Ground-truths/mask_*.png",
    classes={1: "infection"},
    counts={"train": 7145, "test": 2113},
    split="train and test as published; a tenth of train's patients is val, which is "
    "ours",
)


def find(folder: Path) -> Found:
    """Look for X-rays and masks of both published folders."""
    items: list[Item] = []
    missing: list[str] = []
    for word, split in (("Train", "train"), ("Test", "test")):
        images = files(folder, rf"{word} Set/Images/(?P<key>[^/]+)\.png")
        masks = files(folder, rf"{word} Set/Ground-truths/mask_(?P<key>[^/]+)\.png")
        if not images:
            missing.append(f"no *.png in {word} Set/Images")
        both, lacking = paired(images, masks, lambda key: f"mask_{key}.png")
        missing += lacking
        items += [
            Item(f"{split}_{k}", _patient(k), split, (images[k],), _mask(k, masks[k]))
            for k in both
        ]
    apart, remarks = kept_apart(items)
    return Found(tuple(with_val(apart, 0.1)), tuple(missing), tuple(remarks))


def _patient(name: str) -> str:
    """The subject that a file's name begins with, else the file."""
    match = re.match(r"sub-[A-Za-z0-9]+", name)
    return match[0] if match else name


def _mask(name: str, source: Path) -> Made:
    def make() -> Values:
        return (grey(source) > 127).astype(np.uint8)

    return png(f"masks/{name}", make)
