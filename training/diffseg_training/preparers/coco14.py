"""COCO 2014: eighty classes of photographs, outlines made into masks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from diffseg.errors import UserError
from diffseg_training.preparers.looking import files, told
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import png
from diffseg_training.preparers.splitting import with_val

_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,"
    "fire hydrant,,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,"
    "bear,zebra,giraffe,,backpack,umbrella,,,handbag,tie,suitcase,frisbee,skis,"
    "snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,"
    "orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,,"
    "dining table,,,toilet,,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,"
    "toaster,sink,refrigerator,,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush"
)
"""By the number of their category, from 1; the empty ones were never used."""
ABOUT = About(
    title="COCO 2014",
    home="https://cocodataset.org",
    layout="train2014 and val2014 with images, and "
    "annotations/instances_train2014.json and instances_val2014.json",
    classes={
        number: name for number, name in enumerate(_NAMES.split(","), start=1) if name
    },
    counts={"train": 78_644, "val": 4_139, "test": 40_504},
    split="val2014 is test; a twentieth of train2014 is val, which is ours",
)
_SPLITS = {"train2014": "train", "val2014": "test"}


def find(folder: Path) -> Found:
    """Look for both files of outlines, and for the images that they name."""
    tables = files(folder, r"instances_(?P<key>train2014|val2014)\.json")
    missing = [
        f"instances_{name}.json is missing" for name in _SPLITS if name not in tables
    ]
    images = files(folder, r"(?:train|val)2014/(?P<key>[^/]+)\.jpg")
    items: list[Item] = []
    lacking: list[str] = []
    for part, path in tables.items():
        table = _read(path)
        things = defaultdict(list)
        for thing in table["annotations"]:
            things[thing["image_id"]].append(thing)
        for image in table["images"]:
            key = Path(image["file_name"]).stem
            if key not in images:
                lacking.append(f"image {image['file_name']} is missing")
                continue
            mask = _mask(key, image, things[image["id"]])
            items.append(Item(key, key, _SPLITS[part], (images[key],), mask))
    return Found(tuple(with_val(items, 0.05)), (*missing, *told(lacking)))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        content["images"], content["annotations"]
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise UserError(
            f"{path} cannot be read as COCO's instances: {err!r}; download it again"
        ) from None
    return content


def _mask(
    key: str, image: Mapping[str, Any], things: Sequence[Mapping[str, Any]]
) -> Made:
    size = int(image["height"]), int(image["width"])

    def make() -> Values:
        found = np.zeros(size, np.uint8)
        # What is smaller lies upon what is larger.
        for thing in sorted(things, key=lambda one: -float(one["area"])):
            found[_area(thing["segmentation"], size)] = thing["category_id"]
        return found

    return png(f"masks/{key}", make)


def _area(outlines: Any, size: tuple[int, int]) -> np.ndarray:
    """Where a thing is, (Y, X) bool: of polygons, or of runs column by column."""
    if isinstance(outlines, Mapping):
        runs = outlines["counts"]
        if not isinstance(runs, list):
            raise UserError("compressed runs are not in COCO's own files; give those")
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(size, order="F")
    picture = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(picture)
    for outline in outlines:
        if len(outline) >= 6:  # fewer are no area
            draw.polygon([(x, y) for x, y in zip(*[iter(outline)] * 2, strict=True)], 1)
    return np.asarray(picture, bool)
