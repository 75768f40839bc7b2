"""PASCAL VOC 2012, segmentation: twenty classes of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffseg_training.preparers.looking import files, paired, told
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import grey, png
from diffseg_training.preparers.splitting import with_val

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant"),
    *("sheep", "sofa", "train", "tv monitor"),
)
ABOUT = About(
    title="PASCAL VOC 2012",
    home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012",
    layout="VOC2012 with JPEGImages, SegmentationClass and "
    "ImageSets/Segmentation/train.txt and val.txt",
    classes=dict(enumerate(CLASSES, start=1)),
    counts={"train": 1172, "val": 292, "test": 1449},
    split="val as published is test; a fifth of train is val, which is ours",
)
_LIST = r"ImageSets/Segmentation/(?P<key>train|val)\.txt"


def find(folder: Path) -> Found:
    """Look for the two lists, and for images and masks that they name."""
    lists = files(folder, _LIST)
    missing = [
        f"ImageSets/Segmentation/{name}.txt is missing"
        for name in ("train", "val")
        if name not in lists
    ]
    split_of = {
        name: {"train": "train", "val": "test"}[which]
        for which, path in lists.items()
        for name in path.read_text(encoding="utf-8").split()
    }
    found = files(folder, r"JPEGImages/(?P<key>[^/]+)\.jpg")
    masks = files(folder, r"SegmentationClass/(?P<key>[^/]+)\.png")
    lacking = (f"image {name}.jpg is missing" for name in split_of if name not in found)
    missing += told(lacking)
    images = {name: found[name] for name in split_of if name in found}
    both, without = paired(images, masks, lambda key: f"{key}.png")
    items = [
        Item(key, key, split_of[key], (images[key],), _mask(key, masks[key]))
        for key in both
    ]
    remark = "the border around things, void as published, counts as background"
    return Found(tuple(with_val(items, 0.2)), (*missing, *without), (remark,))


def _mask(key: str, source: Path) -> Made:
    def make() -> Values:
        values = grey(source)
        return np.where(values > len(CLASSES), 0, values).astype(np.uint8)

    return png(f"masks/{key}", make)
