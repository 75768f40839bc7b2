"""REFUGE2: fundus photographs cropped around the disc, with the optic cup's mask."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import grey, pixels, png
from diffseg_training.preparers.splitting import with_val

WIDENED = 2.0
"""Side of a crop, in diameters of the reference disc."""

ABOUT = About(
    title="REFUGE2",
    home="https://refuge.grand-challenge.org",
    layout="folders train, val and test (or Training400, Validation400, Test400) with "
    "photographs, and masks of the same names in a folder with mask, disc or GTs in "
    "its name: 0 cup, 128 rim of the disc, 255 outside",
    classes={1: "cup"},
    counts={"train": 720, "val": 80, "test": 400},
    split="800 to train (the published train and val) and 400 to test, as SDSeg and "
    "LEAF; a tenth of train is val, which is ours",
)
_PICTURE = r"\.(?:jpe?g|png|bmp|tiff?)"
_MASKS = re.compile(r"mask|disc|gts?\b|ground", re.IGNORECASE)


def find(folder: Path) -> Found:
    """Look for photographs and masks of the three published folders."""
    items: list[Item] = []
    missing: list[str] = []
    for word, split in (("train", "train"), ("val", "train"), ("test", "test")):
        every = files(folder, rf"(?P<key>(?:.*/)?[^/]*{word}.*/[^/]+{_PICTURE})")
        among = {key for key in every if _MASKS.search(key.rpartition("/")[0])}
        masks = {every[key].stem: every[key] for key in every if key in among}
        images = {every[key].stem: every[key] for key in every if key not in among}
        if not images:
            missing.append(f"no photographs in a folder with {word!r} in its name")
        both, lacking = paired(images, masks, lambda key: f"{key}.bmp")
        missing += lacking
        items += [_item(f"{word}_{k}", split, images[k], masks[k]) for k in both]
    remarks = (
        "crops are centred on the reference disc, and twice as wide: in use, the disc "
        "is found first",
    )
    return Found(tuple(with_val(items, 0.1)), tuple(missing), remarks)


def _item(case: str, split: str, image: Path, mask: Path) -> Item:
    def crop(path: Path) -> None:
        rows, columns = disc_box(grey(mask))
        Image.fromarray(pixels(image)[rows, columns]).save(path)

    def cup() -> Values:
        values = grey(mask)
        return (values[disc_box(values)] < 64).astype(np.uint8)

    picture = Made(f"images/{case}.png", crop)
    return Item(case, case, split, (picture,), png(f"masks/{case}", cup))


def disc_box(values: Values) -> tuple[slice, slice]:
    """Square around the disc of a mask, `WIDENED` times its larger side."""
    found = np.argwhere(values < 192)
    if not len(found):
        return slice(0, values.shape[0]), slice(0, values.shape[1])
    low, high = found.min(0), found.max(0) + 1
    side = round(WIDENED * (high - low).max())
    ranges = []
    for a, b, size in zip(low, high, values.shape, strict=True):
        start = int(np.clip((a + b - side) // 2, 0, max(size - side, 0)))
        ranges.append(slice(start, min(start + side, size)))
    return ranges[0], ranges[1]
