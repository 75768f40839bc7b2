"""Pictures on disk with image-level labels, whose masks nobody may read."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.io import imsave

SHOWN = ("lesion", "hair", "", "lesion;hair")


def write_pictures(
    root: Path,
    shown: Sequence[str] = SHOWN,
    *,
    names: Sequence[str] = ("lesion", "hair"),
    each: int = 3,
    splits: Sequence[str] = ("train", "train", "val", "test"),
    masks: bool = False,
    size: int = 40,
) -> Path:
    """A data set: a bright box is a lesion, a dark bar is hair.

    Without `masks` the column names files that are no pictures: who reads one fails.
    """
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(len(splits) * each):
        said = shown[number % len(shown)]
        random = np.random.default_rng(number)
        image = random.integers(60, 100, (size, size, 3)).astype(np.uint8)
        mask = np.zeros((size, size), np.uint8)
        y, x = random.integers(4, size // 2, 2)
        if "lesion" in said:
            mask[y : y + 12, x : x + 12] = 1
        if "hair" in said:
            mask[:, x : x + 5] = 2
        image[mask == 1] = (230, 180, 120)
        image[mask == 2] = (10, 5, 30)
        imsave(root / f"{number}.png", image)
        if masks:
            imsave(root / f"{number}_mask.png", mask, check_contrast=False)
        else:
            (root / f"{number}_mask.png").write_bytes(b"no picture")
        split = splits[number // each]
        rows.append([number, f"p{number}", split, f"{number}.png", said])
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "group", "split", "image", "labels", "mask"])
        writer.writerows([*row, f"{row[0]}_mask.png"] for row in rows)
    classes = {str(value): name for value, name in enumerate(names, start=1)}
    (root / "classes.json").write_text(json.dumps(classes))
    return root
